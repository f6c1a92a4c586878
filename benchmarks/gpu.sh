#!/usr/bin/env bash
# All that is to be known of a GPU, in at most eight minutes: tests/gpu, rays, and a step of every network at paper size.
#
#   bash benchmarks/gpu.sh            on a machine with a GPU; writes docs/results/gpu.md and gpu.json
#   bash benchmarks/gpu.sh --dry      small sizes on the CPU, into $OUT or a new temporary folder: does it run?
#
# PYTHON   a Python with torch; else the active environment, .venv, python3, whichever sees a GPU first
# OUT      folder of the results (docs/results)
# WHEELS   a folder of wheels for packages that are missing, where no registry can be reached
# BUDGET   seconds in all (480); parts that do not fit are cut, and what they found stays
# TESTS    which tests, as pytest's -k has it; STEPS: words for benchmarks.gpu.steps (--only residual_unet, say)
#
# Results are written after each part, so that a run that is ended from outside leaves what it measured. It exits with 1
# if a part failed, was cut or was skipped.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

dry=""
for word in "$@"; do
  case "$word" in
    --dry) dry=1 ;;
    *) echo "unknown option $word; see the head of benchmarks/gpu.sh" >&2; exit 2 ;;
  esac
done
budget=${BUDGET:-480}
raw=$(mktemp -d) || exit 1
trap 'rm -rf "$raw"' EXIT
if [ -n "$dry" ]; then
  out=${OUT:-$(mktemp -d)}
  if [ "$(realpath -m "$out")" = "$(realpath -m docs/results)" ]; then
    echo "a dry run is no result: set OUT to another folder than docs/results" >&2
    exit 2
  fi
else
  out=${OUT:-docs/results}
fi
mkdir -p "$out" || exit 1

# one Python with a torch that sees a GPU (for a dry run: with torch)
sees='import sys, torch; sys.exit(sys.version_info < (3, 11) or not ("--dry" in sys.argv or torch.cuda.is_available()))'
python=""
for candidate in "${PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" .venv/bin/python python3 python; do
  [ -n "$candidate" ] && command -v "$candidate" > /dev/null || continue
  if timeout -k 5 90 "$candidate" -c "$sees" ${dry:+--dry} > /dev/null 2>&1; then
    python=$(command -v "$candidate")
    break
  fi
done
if [ -z "$python" ]; then
  echo "no Python (3.11 or newer) has a torch that ${dry:+can be imported}${dry:-sees a GPU}; tried: PYTHON, the active" \
    "environment, .venv, python3. 'make test ARGS=tests/gpu' makes .venv; else set PYTHON=/path/to/python3" >&2
  exit 1
fi
echo "python: $python; results: $out"

site=$raw/site
mkdir -p "$site"
export PYTHONPATH=$PWD/src:$PWD:$site PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
device=cuda small=""
if [ -n "$dry" ]; then
  device=cpu small=--small
  export VOLFORGE_GPU_DEVICE=cpu
fi
page() { "$python" -m benchmarks.gpu.page "$raw" "$out" "$@" || echo "the page could not be written" >&2; }
wrong=0

# part NAME SECONDS COMMAND...: run a part within its time and what is left of the budget
part() {
  local name=$1 limit=$2 left=$((budget - SECONDS - 10)) began=$SECONDS code
  shift 2
  [ "$limit" -gt "$left" ] && limit=$left
  if [ "$limit" -lt 10 ]; then
    echo "$name: skipped, no time is left"
    page skipped "$name" "no time was left"
    wrong=1
    return
  fi
  echo "$name: up to $limit s"
  # pipes would keep this waiting for grandchildren: the log is a file
  timeout -k 5 "$limit" "$@" > "$raw/$name.log" 2>&1
  code=$?
  [ "$code" -ne 0 ] && wrong=1 && tail -n 25 "$raw/$name.log"
  echo "$name: ended with $code after $((SECONDS - began)) s"
  page "$name" "$code" "$((SECONDS - began))" "$limit" "$raw/$name.log"
}

# packages that are missing: pure ones and wheels, never torch, never into the Python itself
setup() {
  local missing
  missing=$("$python" -m benchmarks.gpu.ready missing) || return 1
  if [ -n "$missing" ]; then
    echo "missing: $missing"
    local words=(-m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target "$site")
    if [ -n "${WHEELS:-}" ]; then words+=(--no-index --find-links "$WHEELS"); else words+=(--timeout 10 --retries 1); fi
    # all at once; else each for itself, in whatever version there is for this Python
    # shellcheck disable=SC2086
    if ! timeout -k 5 60 "$python" "${words[@]}" $missing; then
      for package in $missing; do
        timeout -k 5 20 "$python" "${words[@]}" --upgrade "${package%%==*}" || echo "$package could not be installed"
      done
    fi
  fi
  "$python" -m benchmarks.gpu.ready machine "$raw/machine.json"
}

# tests WHICH: those of tests/gpu; none of such a name is no failure
tests() {
  "$python" -m pytest -q -p no:cacheprovider -o faulthandler_timeout=60 tests/gpu -k "$1"
  local code=$?
  [ "$code" -eq 5 ] && code=0
  return "$code"
}
export -f setup tests
export python raw site WHEELS="${WHEELS:-}"

# ready NAME: whether all that a part needs is there; if not, it is skipped and the page says why
ready() {
  local reason
  reason=$("$python" -m benchmarks.gpu.ready part "$1") && return 0
  echo "$1: skipped, $reason"
  page skipped "$1" "$reason"
  wrong=1
  return 1
}

page
part setup 100 bash -c setup
if ready walks; then
  part walks 45 "$python" -m benchmarks.gpu.walks --out "$raw/walks.jsonl" --device $device $small
fi
if ready tests; then
  export VOLFORGE_GPU_REPORT=$raw/tests.jsonl
  plain="not compiled" compiled="compiled"
  if [ -n "$dry" ]; then # one training of each task, and what is quick to trace
    plain="$plain and not synthesis_paired and not synthesis_semi" compiled="compiled and segmentation"
  fi
  part tests 140 bash -c 'tests "$1"' _ "$plain${TESTS:+ and ($TESTS)}"
  # apart, since compilers take their time
  part compiled 70 bash -c 'tests "$1"' _ "$compiled${TESTS:+ and ($TESTS)}"
fi
if ready steps; then
  left=$((budget - SECONDS - 25))
  words=(--out "$raw/steps.jsonl" --device $device --page "$raw" "$out")
  if [ -n "$dry" ]; then words+=(--small --measure 0); fi
  # shellcheck disable=SC2086
  part steps $((left + 10)) "$python" -m benchmarks.gpu.steps "${words[@]}" --seconds "$left" ${STEPS:-}
fi
echo "results: $out/gpu.md ($SECONDS s)"
exit "$wrong"

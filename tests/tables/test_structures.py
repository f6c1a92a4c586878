from volforge.tables.structures import read_structures


def test_structures_table_is_checked_as_a_whole(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text("structure\tid\tcolour\tside\nliver\t1\t#ff0000\t\nliver\t1\tred\tup\nA b\t0\t\t\n")
    _, problems = read_structures(path)
    text = "\n".join(map(str, problems))
    for expected in ("stands already in line 2", "not a colour", "unknown side", "not a name", "not an id"):
        assert expected in text


def test_names_in_dicom_files_stand_once_in_the_table(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text("structure\tid\troi\nlens\t1\tLinse\\Lens L\nbrain\t2\t\neye\t3\tAuge\\Linse\n")
    structures, problems = read_structures(path)
    assert [s.roi for s in structures] == [("Linse", "Lens L"), (), ("Auge", "Linse")]
    assert [(p.line, p.column, p.value) for p in problems] == [(4, "roi", "Linse")]


def test_structures_without_colours_get_distinct_ones(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text("structure\tid\n" + "".join(f"s{i}\t{i}\n" for i in range(1, 20)))
    structures, problems = read_structures(path)
    assert problems == []
    assert len({s.colour for s in structures}) == 19

"""What all pages share."""

import jinja2
import pytest

from volforge.pages.parts import environment, turning_library


def test_own_templates_go_first_and_values_are_escaped(tmp_path):
    (tmp_path / "a.html").write_text("<style>{% include 'page.css' %}</style>{{ name }}")
    page = environment(tmp_path).get_template("a.html").render(name="<b>")
    assert page.endswith("&lt;b&gt;")
    assert "--ground" in page
    (tmp_path / "page.css").write_text("mine")
    assert "mine" in environment(tmp_path).get_template("a.html").render(name="")


def test_what_a_template_lacks_is_an_error(tmp_path):
    (tmp_path / "a.html").write_text("{{ missing }}")
    with pytest.raises(jinja2.UndefinedError):
        environment(tmp_path).get_template("a.html").render()


def test_the_library_cannot_end_its_script_element():
    text = turning_library()
    assert "plotly" in text[:500]
    assert "</script" not in text
    assert "<!--" not in text

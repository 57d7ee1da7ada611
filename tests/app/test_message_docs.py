from app.message_docs import _PAGE, render_page, write_page


def test_the_page_in_docs_is_current():
    assert _PAGE.read_text(encoding="utf-8") == render_page(), "run: python -m app.message_docs"


def test_every_field_of_a_label_is_on_the_page(tmp_path):
    write_page(tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| `latency_ms` | LabelLatency |  |" in page
    assert '"Label"' in page


def test_labels_on_the_wire_fit_the_schema():
    import jsonschema
    import msgspec

    from pipeline.schema.messages import Gap, Label, LabelLatency

    _, definitions = msgspec.json.schema_components([Label, Gap], ref_template="#/$defs/{name}")
    label = Label(0, "a", 0, 1, 2, "x", 0, 0.5, [("x", 0.5)], False, LabelLatency(1, 2, 3), 4, 5, 6, 0.5, "n@1")  # noqa: FBT003 - every field in its order
    for message in (label, Gap("a", "label/a", 1, 2, 3)):
        schema = {"$ref": f"#/$defs/{type(message).__name__}", "$defs": definitions}
        jsonschema.validate(msgspec.json.decode(msgspec.json.encode(message)), schema)

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
    label = Label(
        seq=0, source="a", start_us=0, end_us=1, host_ns=2, label="x", index=0, confidence=0.5, top=[("x", 0.5)], stable=False,
        latency_ms=LabelLatency(1, 2, 3), n_events=4, n_dropped=5, sops=6, energy_uj=0.5, network="n@1",
    )  # fmt: skip
    assert msgspec.json.encode(label).startswith(b'{"v":1,"type":"label","seq":0,"source":"a"')
    for message in (label, Gap("a", "label/a", 1, 2, 3)):
        schema = {"$ref": f"#/$defs/{type(message).__name__}", "$defs": definitions}
        jsonschema.validate(msgspec.json.decode(msgspec.json.encode(message)), schema)

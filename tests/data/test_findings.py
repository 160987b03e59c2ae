from kexue.data import Finding


def test_a_finding_reads_like_a_line_of_a_linter():
    finding = Finding("a.jsonl", 3, "crossing", "a and b cross", "Look.", "warning")
    assert str(finding) == "a.jsonl:3: warning: crossing: a and b cross. Look."
    whole = Finding("a.jsonl", None, "off-by-one", "all ends", "Fix.", "error")
    assert str(whole) == "a.jsonl: error: off-by-one: all ends. Fix."
    assert Finding(**finding.to_dict()) == finding
    assert len({finding, whole, finding}) == 2

"""Commands about this machine: doctor."""

import json as json_module


def doctor(*, json: bool = False) -> int:
    """What this machine has, what it lacks, and the line that mends it.

    Parameters
    ----------
    json
        Print one JSON array of findings.
    """
    from dataclasses import asdict

    from app.doctor import examine

    findings = list(examine())
    broken = any(finding.state == "broken" for finding in findings)
    if json:
        print(json_module.dumps([asdict(finding) for finding in findings]))
        return int(broken)
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    signs = {"ok": "[green]ok[/]", "lacking": "[yellow]--[/]", "broken": "[red]!![/]"}
    for finding in findings:
        table.add_row(signs[finding.state], f"[bold]{escape(finding.name)}[/]", escape(finding.found))
        if finding.mend:
            table.add_row("", "", f"[cyan]{escape(finding.mend)}[/]")
    Console().print(table)
    return int(broken)

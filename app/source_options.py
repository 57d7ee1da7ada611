"""The flags of every command that reads events. Apart from `app.reading`, so that worker processes load no command line."""

from typing import Annotated

from cyclopts import Parameter

from app.reading import Reading, Span

# Each field is a flag of its own.
ReadingFlags = Annotated[Reading, Parameter(name="*")]
SpanFlags = Annotated[Span, Parameter(name="*")]

import collections
from pathlib import Path

import click
import regex
from rich.console import Console
from rich.table import Table


@click.command()
@click.argument("text", type=click.Path(exists=True, path_type=Path))
@click.option("--top", default=3)
def main(text: Path, top: int) -> None:
    words = regex.findall(r"\p{L}+", text.read_text(encoding="utf-8").lower())
    table = Table("word", "count")
    for word, count in collections.Counter(words).most_common(top):
        table.add_row(word, str(count))
    Console(width=60).print(table)


if __name__ == "__main__":
    main()

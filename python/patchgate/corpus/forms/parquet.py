"""Tokens as Parquet: a file for each video, a row for each token."""

from pathlib import Path

from patchgate.corpus.forms import rows
from patchgate.corpus.forms.form import OneFile
from patchgate.corpus.needs import pyarrow_for


class Parquet(OneFile):
    """A Parquet file for each video, which pandas, Polars, DuckDB and others read."""

    suffix, exact = ".parquet", False

    def write(self, tokens: Path, video: str, whole: Path) -> None:
        """Writes the rows; see ``Form``."""
        parquet = pyarrow_for("tokens as Parquet").parquet
        own = rows.schema(rows.width_of(tokens))
        with parquet.ParquetWriter(whole, own, compression="zstd") as out:
            for batch in rows.batches(tokens, video):
                out.write_batch(batch)

"""The forms in which a corpus's tokens can be saved; docs/corpus.md has their schemas.

form.py        Form: what all forms have; the exact one, safetensors
rows.py        a row for each token, as batches of Arrow
parquet.py     a Parquet file for each video
webdataset.py  a tar for each video, with a sample for each span of frames
lance.py       one Lance dataset for all videos, which is committed by the job
"""

from patchgate.corpus.forms.form import Form, Safetensors
from patchgate.corpus.forms.lance import Lance, Waiting
from patchgate.corpus.forms.parquet import Parquet
from patchgate.corpus.forms.webdataset import WebDataset

_FORMS: dict[str, Form] = {
    "safetensors": Safetensors(),
    "parquet": Parquet(),
    "lance": Lance(),
    "webdataset": WebDataset(),
}


def form_of(save_as: str) -> Form:
    """Returns a form by its name; ``Settings`` has checked that there is one."""
    return _FORMS[save_as]


__all__ = ["Form", "Lance", "Waiting", "form_of"]

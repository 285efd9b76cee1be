"""The plugin where there is no vLLM, or one that is not supported."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from patchgate.serving import vllm as plugin


class Registry:
    """Notes what is registered."""

    def __init__(self):
        self.names = []

    def register_model(self, name, place):
        self.names.append(name)


def test_nothing_imports_vllm_before_it_loads_the_plugin():
    code = "import sys, patchgate, patchgate.serving.vllm; assert 'vllm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("version", ["0.32.0", "0.32.4", "0.32.1+cpu", "0.32.0.dev3"])
def test_supported(version):
    assert plugin.supported(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "1.32.0", "0.3.2"])
def test_an_unsupported_version_is_left_alone_with_a_warning(monkeypatch, caplog, version):
    registry = Registry()
    fake = SimpleNamespace(__version__=version, ModelRegistry=registry)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    plugin.register()
    assert registry.names == []
    assert f"supports vLLM 0.32, this is {version}: videos are not gated" in caplog.text
    monkeypatch.setenv("VLLM_PLUGINS", "other,patchgate")  # asked for by name
    with pytest.raises(ImportError, match="pip install 'vllm==0"):
        plugin.register()

"""On a cluster whose nodes lack SoundFlow, workers import the shipped package, complete with its data files."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from soundflow.pipeline.mechanics.ray_connection import PACKAGE, connected
from soundflow.schemas.base import InputError
from tests.support import ROOT
from tests.support.bare_python import bare_python
from tests.support.ray_cluster import Cluster

pytest.importorskip("ray")
DRIVER = """\
import json, sys
import ray
from soundflow.pipeline.mechanics.ray_connection import connected

@ray.remote(num_cpus=1)
class Witness:
    def look(self):
        import os
        from pathlib import Path
        import soundflow
        from soundflow import prompts
        from soundflow.pipeline.build.worker import Worker
        from soundflow.pipeline.services import assets
        package = Path(soundflow.__file__).parent
        files = [str(path.relative_to(package)) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        loaded = [prompts.prompt_hash(), *assets.manifest()]
        node = ray.get_runtime_context().get_node_id()
        return {"node": node, "package": str(package), "files": files, "loaded": loaded, "folder": os.getcwd()}

with connected(sys.argv[1], None):
    witnesses = [Witness.remote() for _ in range(2)]
    print(json.dumps(ray.get([witness.look.remote() for witness in witnesses])))
"""


def test_workers_of_every_node_import_the_shipped_package_with_its_data_files(tmp_path: Path) -> None:
    from soundflow import prompts
    from soundflow.pipeline.services import assets

    here, driver = tmp_path / "here", tmp_path / "driver.py"
    (here / "soundflow").mkdir(parents=True)  # the driver's current directory, which Ray would put first on the workers
    (here / "soundflow" / "__init__.py").write_text("raise ImportError('another checkout')")
    driver.write_text(DRIVER)
    with tempfile.TemporaryDirectory(prefix="sf", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder), bare_python(Path(folder) / "bare"))
        try:
            cluster.wait()
            environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
            command = [sys.executable, str(driver), cluster.address]
            done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)
        finally:
            cluster.stop()
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    ours = {str(path.relative_to(PACKAGE)) for path in _files(PACKAGE)}
    assert len({one["node"] for one in seen}) == 2
    for one in seen:
        assert one["package"].startswith(folder) and "py_modules" in one["package"]
        assert set(one["files"]) == ours and {Path(file).suffix for file in ours} >= {".py", ".yaml", ".j2", ".html"}
        assert one["loaded"] == [prompts.prompt_hash(), *assets.manifest()]
        assert one["folder"].startswith(folder), "no worker runs in the driver's directory"


def test_an_address_without_a_cluster_is_reported_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # does not listen
        address = "{}:{}".format(*unused.getsockname())
        code = f"with connected({address!r}, None): pass"
        command = [sys.executable, "-c", f"from soundflow.pipeline.mechanics.ray_connection import connected\n{code}"]
        # in a process of its own: this one may be connected to the suite's cluster
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert re.search(rf"InputError: --address: cannot connect to Ray: .*refused \(got '{address}'\)", done.stderr), done.stderr


def _files(folder: Path) -> list[Path]:
    """All files below `folder`, through links, without compiled ones."""
    found = [Path(root) / name for root, _, names in os.walk(folder, followlinks=True) for name in names]
    return [path for path in found if path.suffix != ".pyc"]


def test_the_address_of_a_dashboard_is_recognised_at_once() -> None:
    with pytest.raises(InputError, match="address of a dashboard") as refused, connected("http://head:8265", None):
        pass
    assert "\n" not in str(refused.value) and "HOST:6379" in refused.value.remedy

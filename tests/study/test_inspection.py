"""``taskct inspect``: a page that needs nothing else, figures that are right, and no Ray."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.inspection import inspect_source, write_page
from study.inspection.layout import source_of
from study.inspection.patient_look import look_at
from taskct_core.errors import ConfigError
from taskct_core.volumes import list_patients

sys.path.insert(0, str(Path(__file__).parent.parent / "taskct_core"))  # importlib mode: the abdomen's module

from abdomen import LIVER, SPACING_MM, TUMOUR, affine_of, make_abdomen, write_dicom_patient, write_lits

HU, LABELS = make_abdomen()


def test_the_figures_of_a_patient(tmp_path: Path) -> None:
    write_lits(tmp_path)
    look = look_at(list_patients("lits", tmp_path)[0])
    assert (look.verdict, look.shape, look.stored_axes) == ("good", HU.shape, "LPS")
    assert look.liver is not None and look.tumour is not None
    assert look.liver.millilitres == pytest.approx(
        (LABELS == LIVER).sum() * np.prod(SPACING_MM) / 1000, rel=1e-5
    )
    assert look.tumour.slices == (LABELS == TUMOUR).any(axis=(1, 2)).sum()
    assert look.liver.hu[1] == np.median(HU[LABELS == LIVER])
    found = {tissue.name: tissue for tissue in look.tissues}
    assert all(tissue.is_expected for tissue in look.tissues)
    assert found["air"].found_hu == pytest.approx(-1000, abs=10)
    assert found["fat"].found_hu == pytest.approx(-100, abs=10)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(look.picture))).convert("RGB")).astype(int)
    green = (picture[..., 1] > picture[..., 0] + 60) & (picture[..., 1] > picture[..., 2] + 60)
    columns = np.flatnonzero(green.any(axis=0))
    assert columns.size and columns[0] < picture.shape[1] / 4, "the liver's outline is on the image's left"


def test_patients_are_compared_and_a_page_holds_them_all(tmp_path: Path) -> None:
    source = tmp_path / "scans"
    write_lits(source, name="1")
    write_lits(source, name="2", ending=".nii")
    write_lits(source, (HU + 1024).astype(np.int16), name="<b>3")
    write_lits(source, affine=affine_of("LAS"), name="4")
    (source / "volume-9.nii.gz").write_bytes((source / "volume-1.nii.gz").read_bytes()[:3000])
    (source / "segmentation-9.nii.gz").write_bytes((source / "segmentation-1.nii.gz").read_bytes())
    seen: list[str] = []
    looks = inspect_source(list_patients("lits", source), lambda look: seen.append(look.patient), 1)
    assert len(seen) == 5
    verdicts = {look.patient: look.verdict for look in looks}
    assert verdicts == {
        "volume-1": "warning",
        "volume-2": "warning",
        "volume-<b>3": "refused",
        "volume-4": "warning",
        "volume-9": "refused",
    }
    assert "the same voxels as volume-2" in looks[0].findings[0].found
    write_page(tmp_path / "page.html", "scans", looks)
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)=.(?!data:)|<script|@import|url\(", page)
    assert page.count("<article") == 5 and "<b>3" not in page
    assert page.index("volume-9") < page.index("volume-2")


def test_the_command_needs_no_ray_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    write_dicom_patient(tmp_path / "scans" / "p")
    program = (
        "import sys; from study.cli import main; sys.argv[0] = 'taskct'\n"
        "try: main()\n"
        "finally: print([name for name in ('ray', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, "inspect", str(tmp_path / "scans"), "--output", "page.html"]
    good = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert good.returncode == 0 and good.stdout.splitlines()[-1] == "[]", good.stderr
    assert "p: 8 x 56 x 56 voxels of 4 x 0.8 x 0.8 mm, stored LPS, liver" in good.stdout
    assert (tmp_path / "page.html").is_file()
    write_lits(tmp_path / "bad", labels=np.flip(LABELS, 1))
    command[4] = str(tmp_path / "bad")
    bad = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert bad.returncode == 1 and "turned over front to back" in bad.stdout


def test_layouts_are_found(tmp_path: Path) -> None:
    write_lits(tmp_path / "lits" / "part")
    assert source_of(tmp_path / "lits", []).kind == "lits"
    write_dicom_patient(tmp_path / "dicom" / "p")
    assert source_of(tmp_path / "dicom", []).kind == "dicom"
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "msd" / name).mkdir(parents=True)
    found = source_of(tmp_path / "msd", ["classes={6: liver}"])
    assert (found.kind, found.labels, found.classes) == ("nifti", "labelsTr/{name}.nii.gz", {6: "liver"})
    (tmp_path / "other" / "s1").mkdir(parents=True)
    (tmp_path / "other" / "s1" / "ct.nii.gz").write_bytes(b"")
    with pytest.raises(ConfigError, match="--set kind=nifti"):
        source_of(tmp_path / "other", [])
    config = tmp_path / "experiment.yaml"
    config.write_text("data: {source: {kind: lits, path: scans}}\n")
    assert source_of(config, ["orientation=LPS"]).orientation == "LPS"

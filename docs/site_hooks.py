"""Pages of the documentation site that are made while it is built: ``make docs`` calls the hooks below.

The README is the first page. Files of the repository that pages link to are part of the site. What configurations and
commands take is read from the program itself, so it is never stale.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from reference_pages import commands_page, configuration_page

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
_COPIES = "repository"  # the folder of the site that files from outside docs/ are in


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the files that lie outside docs/."""
    from mkdocs.structure.files import File

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    made = {
        "index.md": _from_root(readme),
        "changelog.md": _from_root(changes),
        "reference/configuration.md": configuration_page(),
        "reference/commands.md": commands_page(),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    pages = [readme, changes, *(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))]
    for path in sorted({found for text in pages for found in _outside(text)}):
        files.append(File.generated(config, f"{_COPIES}/{path}.txt", content=_shown(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_others: object) -> str:
    """Let links to files outside docs/ go to the site's copies."""
    if page.file.generated_by is not None:
        return markdown
    return _LINK.sub(lambda link: f"]({_target(link[1])}", markdown)


def _from_root(text: str) -> str:
    """Markdown of the repository's root as that of a page in docs/."""

    def moved(link: re.Match[str]) -> str:
        path = link[1]
        return f"]({path.removeprefix('docs/') if path.startswith('docs/') else _target('../' + path)}"

    return _LINK.sub(moved, text).replace('src="docs/', 'src="')


def _target(link: str) -> str:
    return f"{_COPIES}/{link.removeprefix('../').rstrip('/')}.txt" if link.startswith("../") else link


def _outside(text: str) -> list[str]:
    """What a page links to outside docs/, relative to the root."""
    links = [link.removeprefix("../").rstrip("/") for link in _LINK.findall(text)]
    return [link for link in links if not link.startswith("docs/") and (ROOT / link).exists()]


def _shown(path: Path) -> str:
    """A file's text, or the names in a folder."""
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return "\n".join(sorted(file.name for file in path.iterdir() if not file.name.startswith("__"))) + "\n"

"""Objects that say what they are: one line in a prompt, a small table in a notebook."""

from __future__ import annotations

from html import escape

__all__ = ["Shown"]


class Shown:
    """Base of classes whose objects a person looks at; they say what by :meth:`facts`."""

    def facts(self) -> dict[str, str]:
        """Return what there is to know at a glance, by name, the most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return one line."""
        return f"<{type(self).__name__}: {', '.join(self.facts().values())}>"

    def _repr_html_(self) -> str:
        """Return the table that notebooks show. Names from files are escaped."""
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(text)}</td></tr>'
            for name, text in self.facts().items()
        )
        return f"<table><caption>{escape(type(self).__name__)}</caption>{rows}</table>"

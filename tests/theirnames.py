"""Which names of another library's a source uses, read from the source: to hold them against the real classes."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from types import ModuleType


@dataclass(frozen=True)
class Source:
    """A module of this project, and what its variables hold."""

    module: ModuleType
    theirs: dict[str, str]
    """their classes, by the name of the variable, or of the attribute, that holds one"""
    ours: set[str]
    """names that hold nothing of theirs that it could lack"""
    root: str = "trt"
    """the name of their module itself"""
    overrides: dict[str, str] = field(default_factory=dict)
    """their class, by the class here that derives from it"""

    def uses(self) -> set[tuple[str, str]]:
        """(class, member) for each name of theirs in the source; ("", name) for one of the module's own."""
        found = set()
        for node in ast.walk(ast.parse(inspect.getsource(self.module))):
            if isinstance(node, ast.Attribute):
                chain = self._dotted(node)
                if self.root in chain[:-1]:  # trt.BuilderFlag.TF32, kit.trt.BuilderFlag
                    after = chain[chain.index(self.root) + 1 :]
                    found |= {("", after[0]), *([(after[0], after[1])] if len(after) > 1 else [])}
                elif chain[-2] in self.theirs:
                    found.add((self.theirs[chain[-2]], chain[-1]))
                else:
                    assert chain[0] in self.ours | {""}, f"is {'.'.join(chain)} of {self.root}? Say so here"
            if isinstance(node, ast.ClassDef) and node.name in self.overrides:
                methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)} - {"__init__"}
                if node.name == "Log":  # the other methods are for this project
                    assert "log" in methods
                    methods = {"log"}
                found |= {(self.overrides[node.name], name) for name in methods}
        return {(holder, name) for holder, name in found if not name.startswith("__")}

    def _dotted(self, node: ast.expr) -> list[str]:
        """["trt", "BuilderFlag", "TF32"]; what is no name begins with ""."""
        if isinstance(node, ast.Attribute):
            return [*self._dotted(node.value), node.attr]
        if isinstance(node, ast.Call):
            called = self._dotted(node.func)[0]
            assert called not in {*self.theirs, self.root}, f"line {node.lineno}: give the result a name of its own"
            return [""]
        return [node.id] if isinstance(node, ast.Name) else [""]

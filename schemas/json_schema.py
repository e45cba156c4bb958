"""JSON Schema of our documents for editors, with the docstrings of fields as descriptions."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from pydantic import BaseModel


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `model`; every field has its docstring as `description`."""
    schema = model.model_json_schema()
    definitions = {model.__name__: schema} | schema.get("$defs", {})
    for nested in nested_models(model):
        for name, text in field_docstrings(nested).items():
            definitions[nested.__name__]["properties"][name].setdefault("description", " ".join(text.split()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def nested_models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return `model` and all models in its fields, each once, in the order of the fields."""
    found: dict[type[BaseModel], None] = {}

    def visit(annotation: Any) -> None:
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            if annotation not in found:
                found[annotation] = None
                for field in annotation.model_fields.values():
                    visit(field.annotation)
            return
        for inner in (*getattr(annotation, "__args__", ()), getattr(annotation, "__value__", None)):
            if inner is not None:
                visit(inner)

    visit(model)
    return list(found)


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return field → the string that follows it in the source of the class or of a base class."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr):
                text = ast.literal_eval(after.value) if isinstance(after.value, ast.Constant) else ""
                if text and isinstance(text, str):
                    found[node.target.id] = inspect.cleandoc(text)
    return found

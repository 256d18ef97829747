"""YAML, read without executing anything. The library is loaded when a file is there to be read."""

from __future__ import annotations

DEEPEST = 20  # settings need 2; the library's time grows with the square of the depth


def read_yaml(content: bytes) -> object:
    """Raises ValueError with the reason."""
    import yaml

    try:
        loader = yaml.SafeLoader(content)
        try:
            depth = 0
            for event in yaml.parse(content, yaml.SafeLoader):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if isinstance(event, yaml.AliasEvent):
                    raise ValueError("anchors and aliases are not taken")
                if depth > DEEPEST:
                    raise ValueError("it is nested too deeply")
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as fault:
        raise ValueError(" ".join(str(fault).split())) from fault

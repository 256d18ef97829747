"""YAML, read without executing anything. The library is loaded when a file is there to be read."""

from __future__ import annotations


def read_yaml(content: bytes) -> object:
    """Raises ValueError with the reason."""
    import yaml

    try:
        loader = yaml.SafeLoader(content)
        try:
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.SafeLoader)):
                raise ValueError("anchors and aliases are not taken")
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as fault:
        raise ValueError(" ".join(str(fault).split())) from fault
    except RecursionError as fault:
        raise ValueError("it is nested too deeply") from fault

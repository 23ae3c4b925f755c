"""The tokenizer that ours is held against: open_clip's own, for the fixture and for the benchmark's other side."""
import importlib.util
import pathlib


def reference():
    """The module open_clip/tokenizer.py alone: importing the whole package asks for a matching torchvision."""
    folder = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", pathlib.Path(folder) / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

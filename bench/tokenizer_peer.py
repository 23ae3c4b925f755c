"""The Python side of tokenizer.bench.ts: encodes the captions of a file with open_clip's SimpleTokenizer each time a line comes in.

Prints one JSON object a pass: CPU seconds of this process, and the SHA-256 of all ids, so that both sides can be seen to do the same.
"""
import hashlib
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "test" / "parity" / "tokenizer"))
from open_clip_reference import reference  # noqa: E402 (the path first)

captions = json.loads(pathlib.Path(sys.argv[1]).read_text("utf-8"))
tokenizer = reference().SimpleTokenizer()
for line in sys.stdin:
    start = time.process_time()
    ids = [tokenizer.encode(caption) for caption in captions]
    seconds = time.process_time() - start
    digest = hashlib.sha256("\n".join(",".join(map(str, row)) for row in ids).encode("ascii")).hexdigest()
    print(json.dumps({"seconds": seconds, "digest": digest}), flush=True)

"""The Python side of webdataset.bench.ts, with the standard library's tarfile alone: "read TARS" collects the captions of tars,
"copy FROM TO" writes a tar once more with a caption added to each .json. Prints CPU seconds of this process and a SHA-256 of the captions.
"""
import hashlib
import io
import json
import sys
import tarfile
import time


def read(tars):
    digest = hashlib.sha256()
    for path in tars:
        with tarfile.open(path, "r|") as tar:
            for member in tar:
                if member.name.endswith(".txt"):
                    digest.update(tar.extractfile(member).read() + b"\n")
    return digest.hexdigest()


def copy(source, target):
    with tarfile.open(source, "r|") as tar, tarfile.open(target, "w|") as out:
        for member in tar:
            content = tar.extractfile(member).read()
            if member.name.endswith(".json"):
                value = json.loads(content)
                value["caption_eda"] = "other words"
                content = json.dumps(value).encode()
                member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return ""


for line in sys.stdin:
    command, *paths = json.loads(line)
    start = time.process_time()
    digest = read(paths) if command == "read" else copy(*paths)
    print(json.dumps({"seconds": time.process_time() - start, "digest": digest}), flush=True)

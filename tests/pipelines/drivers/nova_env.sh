#!/bin/sh
# Makes the environment in which tests run Nova's own code: nova_env.sh [FOLDER], by default .nova-venv in the checkout.
# Nothing is done where it stands already, as the constraints say.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
folder=${1:-$root/.nova-venv}
python=$root/.venv/bin/python

cmp -s "$here/nova_constraints.txt" "$folder/installed.txt" && exit 0

"$python" -m uv venv --quiet --clear --python "$python" "$folder"
"$python" -m uv pip install --quiet --compile-bytecode --no-deps --python "$folder/bin/python" \
    --requirement "$here/nova_constraints.txt"

# Nova's tests look for its configuration beside the package.
packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$packages/etc"
ln -sfn "$folder/etc/nova" "$packages/etc/nova"

cp "$here/nova_constraints.txt" "$folder/installed.txt"

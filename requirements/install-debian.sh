#!/bin/sh
# Install the Debian packages that a list names (one a line, # comments), unless
# they are there; fail when one is missing afterwards.
#
#   requirements/install-debian.sh requirements/debian-test.txt
set -eu

list=$1
# A package manager that is busy (automatic updates after boot) is waited for.
lock_timeout_s=500
update_tries=5

missing() {
  sed 's/#.*//' "$list" | while read -r package; do
    [ -n "$package" ] || continue
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || status=
    [ "$status" = installed ] || printf '%s ' "$package"
  done
}

if ! command -v dpkg-query >/dev/null; then
  echo "this is not a Debian system; install these yourself: $(sed 's/#.*//' "$list" | tr '\n' ' ')" >&2
  exit 1
fi

wanted=$(missing)
[ -n "$wanted" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  as_root=sudo
else
  echo "missing Debian packages; run as root: apt-get update && apt-get install $wanted" >&2
  exit 1
fi

echo "installing Debian packages: $wanted"
apt_get() {
  $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o "DPkg::Lock::Timeout=$lock_timeout_s" "$@"
}

# A service of a package must not start by itself: it would listen.
policy=/usr/sbin/policy-rc.d
if [ -n "${NO_SERVICES:-}" ] && [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
  $as_root chmod 755 "$policy"
  trap '$as_root rm -f "$policy"' EXIT
fi

# The lists have a lock of their own, which no option waits for.
tried=1
until apt_get update; do
  [ "$tried" -lt "$update_tries" ] || break # old lists may still do
  tried=$((tried + 1))
  sleep 5
done
log=$(mktemp)
# shellcheck disable=SC2086  # one word a package
if ! apt_get install --yes --no-install-recommends $wanted >"$log" 2>&1; then
  cat "$log" >&2
fi
rm -f "$log"

still=$(missing)
if [ -n "$still" ]; then
  echo "Debian packages could not be installed: $still" >&2
  exit 1
fi

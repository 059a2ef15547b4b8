#!/usr/bin/env bash
# Prints what is in a program, as a bill of materials in the form of CycloneDX 1.5 (https://cyclonedx.org): every crate
# that is linked, with version, licence and the checksum of the lock file. What only tests, or other features, need is
# not in it.
#
# usage: systemd/packages/sbom.sh PACKAGE [TRIPLE]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 2
fi
package=$1
triple=${2:-$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')}

"${CARGO:-cargo}" tree --locked --target "$triple" -p "$package" --edges normal,build --no-dedupe --prefix none \
    --format '{p}|{l}' |
    LC_ALL=C sort -u |
    awk -v package="$package" -v triple="$triple" '
        # Of Cargo.lock: name, version and checksum of each package, in this order.
        FNR == NR {
            if ($1 == "name") name = unquoted($3)
            if ($1 == "version") version = unquoted($3)
            if ($1 == "checksum") checksum[name " " version] = unquoted($3)
            next
        }
        {
            split($0, half, "|")
            split(half[1], word, " ")
            name = word[1]
            version = substr(word[2], 2)
            if (seen[name " " version]++) next
            if (name == package) own = version
            else text[++count] = component("library", name, version, half[2], checksum[name " " version])
        }
        END {
            print "{"
            print "  \"bomFormat\": \"CycloneDX\","
            print "  \"specVersion\": \"1.5\","
            print "  \"version\": 1,"
            print "  \"metadata\": {\n    \"component\": " component("application", package, own, "", "") ","
            print "    \"properties\": [{\"name\": \"target\", \"value\": \"" triple "\"}]\n  },"
            print "  \"components\": ["
            for (i = 1; i <= count; i++) print "    " text[i] (i < count ? "," : "")
            print "  ]\n}"
        }
        function unquoted(word) { gsub(/"/, "", word); return word }
        function component(type, name, version, licence, sum) {
            return "{\"type\": \"" type "\", \"name\": \"" name "\", \"version\": \"" version "\"" \
                (type == "library" ? ", \"purl\": \"pkg:cargo/" name "@" version "\"" : "") \
                (licence != "" ? ", \"licenses\": [{\"expression\": \"" spdx(licence) "\"}]" : "") \
                (sum != "" ? ", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"" sum "\"}]" : "") "}"
        }
        # Cargo once had a stroke for OR.
        function spdx(licence) { gsub(/ ?\/ ?/, " OR ", licence); return licence }
    ' Cargo.lock -

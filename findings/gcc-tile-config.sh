#!/usr/bin/env bash
# GCC 12 drops most of a local AMX tile configuration: `_tile_loadconfig` tells the compiler that the instruction reads
# 8 bytes, but it reads 64.
#
# At -O2 the stores to the rows and columns of the tiles disappear, because nothing seems to read them; at -O0 they are
# there. The instruction then reads whatever was on the stack. A configuration that is `static` or `volatile`, or an
# `asm volatile("" ::: "memory")` before the call, keeps the stores.
# Versions: cpp-12 and libgcc-12-dev 12.2.0-14+deb12u1 (Debian 12).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=12.2.0-14+deb12u1
for package in cpp-12 libgcc-12-dev; do
    file="$folder/$package.deb"
    python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])' \
        "http://deb.debian.org/debian/pool/main/g/gcc-12/${package}_${version}_amd64.deb" "$file"
    dpkg-deb -x "$file" "$folder/root"
done
gcc="$folder/root/usr/lib/gcc/x86_64-linux-gnu/12"

cat > "$folder/configure.c" <<'C'
#include <immintrin.h>
/* The 64 bytes that LDTILECFG reads: palette 1, and one tile with 16 rows of 64 bytes. */
struct configuration {
    unsigned char palette, start_row, reserved[14];
    unsigned short row_bytes[16];
    unsigned char rows[16];
};
void configure(void) {
    struct configuration configuration = {.palette = 1};
    configuration.row_bytes[0] = 64;
    configuration.rows[0] = 16;
    _tile_loadconfig(&configuration);
}
C

# The bytes that the function writes to the configuration: `movb $1` is the palette, `movw $64` a tile's row length,
# `movb $16` its number of rows.
stores() {
    "$gcc/cc1" -quiet -I "$gcc/include" -D_MM_MALLOC_H_INCLUDED -mamx-tile "$1" "$folder/configure.c" -o - |
        grep -oE 'mov[bw]	\$(1|64|16),' | tr -s '\n\t' '  '
}
unoptimised=$(stores -O0)
optimised=$(stores -O2)
echo "-O0: $unoptimised"
echo "-O2: $optimised"
[[ "$unoptimised" == 'movb $1, movw $64, movb $16, ' && "$optimised" == 'movb $1, ' ]] ||
    { echo "the behaviour has changed" >&2; exit 1; }

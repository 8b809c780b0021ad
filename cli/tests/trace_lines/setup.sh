# What every command finds in its directory. All times are of long ago.
set -eu
umask 022
mkdir -p tree/sub/deep empty/dir project
printf 'a line\nanother line\nthe end\n' > tree/one
seq 1 3000 > long
printf 'one\ntwo\nthree\n' > names
head -c 5000 long > tree/sub/two
printf 'x\n' > tree/sub/deep/three
ln -s one tree/soft
ln tree/one tree/sub/hard
touch lock fifo_file
tar -cf old.tar tree
printf 'all: one two\none: one.c\n\tcp one.c one\ntwo: one\n\t@cat one > two\nexport A = $(shell echo a)\n' > project/Makefile
printf '#include <stddef.h>\nint one(void) { return (int)sizeof(size_t); }\n' > project/one.c
find . -exec touch -h -d @1600000000 {} +

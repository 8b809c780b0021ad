set -eu
make -s -j4
./program
make -s -j4 -q && echo up to date
make -n -W m7.c | grep -c m7.o
rm -f m9.o; make -j4 2>&1 | tail -1 | wc -w
echo 'int f7(int x) {return x' > m7.c; make -s -k -j4 2>&1 | grep -c 'Error 1' || true
gcc -O2 -S -o - m1.c | grep -c f1; echo 'int main(void) {return 3;}' | gcc -x c - -o three; ./three || echo "three says $?"
sha256sum program

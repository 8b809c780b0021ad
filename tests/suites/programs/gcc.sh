# gcc, g++ and make: sources of thousands of lines; the hashes of the objects are those of a native run.
# packages: gcc g++ make binutils libc6-dev mawk
# limit: 180
source "${0%/*}/checks.bash"
awk 'BEGIN {
    print "#include <stdio.h>\n#include <stdint.h>";
    for (i = 0; i < 1200; i++) printf "uint64_t f%d(uint64_t x, const uint64_t *t) { for (int i = 0; i < %d; i++) { x ^= t[x %% %d] * %du; x = x << %d | x >> %d; if (x & %d) x += f%d_k(x); } return x; }\n", i, i % 17 + 3, i % 13 + 2, i * 2654435761 % 4294967296, i % 31 + 1, 64 - (i % 31 + 1), i + 1, i;
}' | awk '{ if (match($0, /f[0-9]+_k/)) { n = substr($0, RSTART, RLENGTH); print "static uint64_t " n "(uint64_t x) { return x * 3 + " NR "; }" } print }' > big.c
awk 'BEGIN { print "#include <stdio.h>\n#include <stdint.h>"; for (i = 0; i < 1200; i++) printf "uint64_t f%d(uint64_t, const uint64_t *);\n", i; print "int main(void) { uint64_t t[64], x = 1; for (int i = 0; i < 64; i++) t[i] = i * 7919; "; for (i = 0; i < 1200; i++) printf "x = f%d(x, t);\n", i; print "printf(\"%llx\\n\", (unsigned long long)x); }" }' > main.c
cat > templates.cc <<'END'
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>
template <int N> struct Fib { static constexpr unsigned long long value = Fib<N - 1>::value + Fib<N - 2>::value; };
template <> struct Fib<0> { static constexpr unsigned long long value = 0; };
template <> struct Fib<1> { static constexpr unsigned long long value = 1; };
int main()
{
    std::mt19937 random(7);
    std::vector<int> v(200000);
    std::generate(v.begin(), v.end(), [&] { return int(random() % 100000); });
    std::sort(v.begin(), v.end());
    std::map<std::string, std::set<int>> m;
    for (int x : v) m[std::to_string(x % 100)].insert(x);
    std::smatch match;
    std::string text = "key=value";
    bool found = std::regex_match(text, match, std::regex("(\\w+)=(\\w+)"));
    long sum = 0;
    std::thread t([&] { sum = std::accumulate(v.begin(), v.end(), 0L); });
    t.join();
    try { throw std::runtime_error("thrown"); } catch (const std::exception &e) { std::cout << e.what() << ' '; }
    std::cout << Fib<90>::value << ' ' << m.size() << ' ' << found << ' ' << sum << '\n';
}
END
cat > Makefile <<'END'
CFLAGS = -O2 -Wall
prog: big.o main.o ; gcc -o $@ $^
%.o: %.c ; gcc $(CFLAGS) -c -o $@ $<
END
holds "make -j2" make -j2 prog
ok "big.o $(sha256sum < big.o | cut -c1-16)"
ok "main.o $(sha256sum < main.o | cut -c1-16)"
ok "it computes $(./prog)"
gcc -O3 -flto -c big.c -o lto.o 2> errors && ok "-flto" || fail "-flto" "$(head -n 1 errors)"
gcc -O1 -g -c -frandom-seed=1 big.c -o debug.o && ok "-g $(sha256sum < debug.o | cut -c1-16)"
gcc -pipe -O1 -S big.c -o piped.s && ok "-pipe $(sha256sum < piped.s | cut -c1-16)"
g++ -O2 -std=c++20 -c templates.cc && ok "templates.o $(sha256sum < templates.o | cut -c1-16)"
g++ -o templates templates.o -pthread && ok "templates $(./templates)"
ar rcsD lib.a big.o templates.o; ok "ar $(sha256sum < lib.a | cut -c1-16)"
nm lib.a > symbols; ok "nm $(sha256sum < symbols | cut -c1-16)"; objdump -d big.o | sha256sum | { read -r sum _; ok "objdump $sum"; }
strip -o stripped prog; ok "strip $(sha256sum < stripped | cut -c1-16)"
echo 'int main(void) { return x; }' > wrong.c; gcc -c wrong.c 2> errors; same "an error" 1 $?; same "its message" 1 "$(grep -c "undeclared" errors)"
exit 0

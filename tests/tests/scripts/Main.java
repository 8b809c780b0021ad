import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Main {
    static long collatz(long n) { long c = 0; while (n != 1) { n = n % 2 == 0 ? n / 2 : 3 * n + 1; c++; } return c; }
    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> parts = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            final int part = i;
            parts.add(pool.submit(() -> LongStream.range(1 + part * 100000L, 1 + (part + 1) * 100000L).map(Main::collatz).sum()));
        }
        long sum = 0;
        for (Future<Long> f : parts) sum += f.get();
        pool.shutdown();
        System.out.println(sum);
        byte[][] garbage = new byte[1000][];
        for (int i = 0; i < 20000; i++) garbage[i % 1000] = new byte[10000 + i];
        System.out.println(Arrays.stream(garbage).mapToInt(b -> b.length).sum());
        Path p = Path.of("java.txt");
        Files.writeString(p, IntStream.range(0, 1000).mapToObj(Integer::toString).collect(Collectors.joining("\n")));
        System.out.println(Files.lines(p).mapToInt(Integer::parseInt).sum());
        ConcurrentHashMap<Integer, Integer> map = new ConcurrentHashMap<>();
        Thread[] t = new Thread[6];
        for (int i = 0; i < t.length; i++) (t[i] = new Thread(() -> { for (int k = 0; k < 5000; k++) map.merge(k % 100, 1, Integer::sum); })).start();
        for (Thread x : t) x.join();
        System.out.println(map.values().stream().mapToInt(x -> x).sum());
        System.out.println("java done");
    }
}

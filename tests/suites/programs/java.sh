# OpenJDK: javac, threads, the garbage collector, processes, files, sockets.
# packages: default-jdk-headless
# limit: 120
source "${0%/*}/checks.bash"
cat > Main.java <<'END'
import java.io.*; import java.net.*; import java.nio.file.*; import java.security.*; import java.util.*; import java.util.concurrent.*; import java.util.concurrent.atomic.*; import java.util.stream.*;
public class Main {
    static void same(String name, Object want, Object got) { System.out.println(Objects.equals(want, got) ? "ok " + name : "FAIL " + name + ": got " + got + ", wanted " + want); }
    public static void main(String[] args) throws Exception {
        same("parallel streams", 333332833333500000L, LongStream.rangeClosed(1, 999999).parallel().map(x -> x * x).sum() % 1000000000000000000L);
        ExecutorService pool = Executors.newFixedThreadPool(8); AtomicLong n = new AtomicLong(); List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < 200; i++) all.add(pool.submit(() -> { for (int j = 0; j < 1000; j++) n.incrementAndGet(); }));
        for (Future<?> f : all) f.get(); pool.shutdown(); same("a pool", 200000L, n.get()); same("the pool ends", true, pool.awaitTermination(20, TimeUnit.SECONDS));
        List<byte[]> keep = new ArrayList<>(); long sum = 0; for (int i = 0; i < 4000; i++) { byte[] b = new byte[64 << 10]; b[i] = 1; sum += b[i]; if (i % 200 == 0) keep.add(b); } System.gc(); same("garbage", 4000L, sum);
        MessageDigest md = MessageDigest.getInstance("SHA-256"); for (int i = 0; i < 50000; i++) md.update(Integer.toString(i).getBytes()); System.out.println("ok SHA-256 " + HexFormat.of().formatHex(md.digest()));
        Process p = new ProcessBuilder("sh", "-c", "read x; echo got $x; exit 5").start(); p.getOutputStream().write("it\n".getBytes()); p.getOutputStream().close();
        same("a process's output", "got it", new BufferedReader(new InputStreamReader(p.getInputStream())).readLine()); same("its status", 5, p.waitFor());
        Process s = new ProcessBuilder("sleep", "30").start(); s.destroy(); same("a destroyed process", 143, s.waitFor());
        Path f = Files.createTempFile("x", ".txt"); Files.write(f, IntStream.range(0, 10000).mapToObj(Integer::toString).collect(Collectors.toList())); same("a file", 10000L, Files.lines(f).count()); Files.delete(f);
        try (RandomAccessFile r = new RandomAccessFile("mapped", "rw")) { var m = r.getChannel().map(java.nio.channels.FileChannel.MapMode.READ_WRITE, 0, 1 << 20); for (int i = 0; i < 1 << 20; i += 4096) m.put(i, (byte) 7); m.force(); same("a mapped file", 7, (int) m.get(4096)); }
        ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress()); Thread t = new Thread(() -> { try { for (int i = 0; i < 10; i++) try (Socket c = server.accept()) { c.getInputStream().transferTo(c.getOutputStream()); } } catch (IOException e) { } }); t.start();
        int good = 0; for (int i = 0; i < 10; i++) try (Socket c = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort())) { c.getOutputStream().write(("hello" + i).getBytes()); c.shutdownOutput(); if (new String(c.getInputStream().readAllBytes()).equals("hello" + i)) good++; } t.join(); same("sockets", 10, good);
        long start = System.nanoTime(); Thread.sleep(100); same("sleep", true, System.nanoTime() - start >= 100000000L);
        Thread w = new Thread(() -> { try { Thread.sleep(60000); } catch (InterruptedException e) { n.set(-1); } }); w.start(); w.interrupt(); w.join(); same("interrupt", -1L, n.get());
        try { int[] a = new int[1]; a[args.length + 1]++; same("an exception", 1, 0); } catch (ArrayIndexOutOfBoundsException e) { same("an exception", 1, 1); }
        try { Object o = null; o.hashCode(); } catch (NullPointerException e) { same("a null pointer", 1, 1); }
        try { deep(0); } catch (StackOverflowError e) { same("the stack overflows", 1, 1); }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("ok a shutdown hook"))); System.exit(3);
    }
    static int deep(int n) { return n + deep(n + 1) * 2; }
}
END
holds "javac" javac -J-Xmx256m Main.java
for gc in SerialGC ParallelGC G1GC; do
    java -Xmx256m -XX:+Use$gc Main | sed "s/^ok /ok $gc: /; s/^FAIL /FAIL $gc: /"; same "$gc: exit status" 3 "${PIPESTATUS[0]}"
done
java -Xmx256m -cp . -Xint -version > version 2>&1; same "-version" 0 $?
jar cf m.jar Main.class; same "jar" 1 "$(jar tf m.jar | grep -c Main.class)"
exit 0

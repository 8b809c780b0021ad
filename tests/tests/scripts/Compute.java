/** Computes for some seconds in several threads. */
public class Compute {
    public static void main(String[] args) throws InterruptedException {
        Thread[] threads = new Thread[4];
        long[] sums = new long[threads.length];
        for (int i = 0; i < threads.length; i++) {
            int own = i;
            threads[i] = new Thread(() -> {
                long x = own + 1, sum = 0;
                for (int k = 0; k < 900_000_000; k++) {
                    x = x * 6364136223846793005L + 1442695040888963407L;
                    sum += x >>> 33;
                }
                sums[own] = sum;
            });
            threads[i].start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println(sums[0] + " " + sums[1] + " " + sums[2] + " " + sums[3]);
        System.out.println("java done");
    }
}

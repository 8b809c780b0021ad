objects := $(patsubst %.c,%.o,$(sort $(wildcard *.c)))
CFLAGS := -O1 -Wall -Werror -frandom-seed=1

program: $(objects)
	gcc -o $@ $^
%.o: %.c
	@gcc $(CFLAGS) -c -o $@ $<
clean:
	rm -f program $(objects)

"""Runs modules of Python's own regression tests and writes a line for each test as soon as it has ended, so that what
was reached is known even of a run that hangs or crashes.

    python_cases.py FILE MODULE…
"""

import sys


def main(path, modules):
    from test.support import testresult

    def tell(word, test, why=""):
        # Opened each time: tests close descriptors, fork, and look at what is open.
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{word}\t{test.id()}\t{why}\n")

    def last_line(error):
        return f"{error[0].__name__}: {error[1]}".replace("\n", " ").replace("\t", " ")[:300]

    class Result(testresult.RegressionTestResult):
        def startTest(self, test):
            tell("began", test)
            super().startTest(test)

        def addSuccess(self, test):
            tell("pass", test)
            super().addSuccess(test)

        def addSkip(self, test, reason):
            tell("skip", test)
            super().addSkip(test, reason)

        def addExpectedFailure(self, test, error):
            tell("skip", test)
            super().addExpectedFailure(test, error)

        def addUnexpectedSuccess(self, test):
            tell("fail", test, "unexpected success")
            super().addUnexpectedSuccess(test)

        def addError(self, test, error):
            tell("fail", test, last_line(error))
            super().addError(test, error)

        def addFailure(self, test, error):
            tell("fail", test, last_line(error))
            super().addFailure(test, error)

        def addSubTest(self, test, subtest, error):
            if error is not None:
                tell("fail", test, last_line(error))
            super().addSubTest(test, subtest, error)

    testresult.RegressionTestResult = Result
    from test.libregrtest import main as run

    sys.argv[1:] = ["-v", *modules]
    run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""`python -m tests.postman` runs the Postman collection against a Parley of its own, without a model key."""

import argparse
import sys

from tests.postman.run import CollectionFailedError, newman_missing, run_collection


def main() -> None:
    """Run it; exits with 1 and one clear line when it can't run or fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.postman", description=__doc__)
    parser.add_argument("--auth", choices=("on", "off"), default="off", help="run the server with AUTH=on (off)")
    parser.add_argument("--role", choices=("admin", "user"), default="admin", help="sign in as one of these (admin)")
    arguments = parser.parse_args()
    if what := newman_missing():
        sys.exit(f"{what} is not installed. The collection needs it: https://nodejs.org, version 18 or newer.")
    try:
        run_collection(auth=arguments.auth, role=arguments.role)
    except CollectionFailedError as error:
        sys.exit(f"The Postman collection failed. {error}")


if __name__ == "__main__":
    main()

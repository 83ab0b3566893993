"""``python -m layerpeel.certify.claims > THEORY.md``: print the page."""

from layerpeel.certify.claims.theory_page import theory_page

if __name__ == "__main__":
    print(theory_page(), end="")

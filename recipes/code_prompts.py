"""Python tasks put together from parts, for drafters to learn code from: writes code.jsonl.

    python recipes/code_prompts.py

Tasks that HumanEval has too are left out: drafters are measured on those.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

KINDS = {
    "list of integers": ("List[int]", "numbers", ["[3, 1, 2]", "[5, 5, 7]", "[-1, 0, 4]"]),
    "list of floats": ("List[float]", "values", ["[1.5, 2.0]", "[0.1, 3.2, 9.9]"]),
    "list of strings": ("List[str]", "words", ['["ab", "c"]', '["x", "yz", "x"]']),
    "string": ("str", "text", ['"hello"', '"Level up"', '"a1b2"']),
    "dictionary from names to numbers": ("Dict[str, int]", "table", ['{"a": 1, "b": 2}']),
    "positive integer": ("int", "n", ["5", "12", "100"]),
    "matrix given as a list of rows": ("List[List[int]]", "matrix", ["[[1, 2], [3, 4]]"]),
}
TASKS = {
    "list of integers": [
        ("sum_of_squares", "int", "the sum of the squares of its elements"),
        ("second_largest", "Optional[int]", "the second largest element, or None if there is none"),
        ("running_total", "List[int]", "the running total at each position"),
        ("count_even", "int", "how many elements are even"),
        ("product_of_odd", "int", "the product of the odd elements"),
        ("longest_increasing_run", "int", "the length of the longest increasing run"),
        ("move_zeros_to_end", "List[int]", "the same elements with all zeros moved to the end"),
        ("rotate_left", "List[int]", "the list rotated left by one place"),
        ("most_common", "int", "the element that occurs most often, the smallest on a tie"),
        ("differences", "List[int]", "the differences between neighbouring elements"),
        ("local_peaks", "List[int]", "the elements that are larger than both neighbours"),
        ("sort_by_last_digit", "List[int]", "the elements sorted by their last digit"),
        ("is_sorted", "bool", "whether the elements are in ascending order"),
    ],
    "list of floats": [
        ("mean_value", "float", "the arithmetic mean"),
        ("variance", "float", "the variance around the mean"),
        ("closest_to_mean", "float", "the value that lies closest to the mean"),
        ("clip_to_unit", "List[float]", "the values clipped to the range from zero to one"),
        (
            "largest_gap",
            "float",
            "the largest gap between two values that follow one another when sorted",
        ),
        ("round_all", "List[int]", "every value rounded to the nearest integer"),
    ],
    "list of strings": [
        ("count_by_length", "Dict[int, int]", "how many strings there are of each length"),
        ("starting_with_vowel", "List[str]", "only the strings that start with a vowel"),
        ("sort_ignoring_case", "List[str]", "the strings sorted without regard to case"),
        ("common_prefix", "str", "the longest prefix that all strings share"),
        (
            "group_by_first_letter",
            "Dict[str, List[str]]",
            "the strings grouped by their first letter",
        ),
        ("reverse_each", "List[str]", "every string reversed"),
        ("total_characters", "int", "the number of characters in all strings together"),
    ],
    "string": [
        ("reverse_words", "str", "the words in reverse order"),
        ("remove_digits", "str", "the text without its digits"),
        ("capitalise_words", "str", "the text with every word capitalised"),
        (
            "first_repeated_character",
            "Optional[str]",
            "the first character that occurs twice, or None",
        ),
        ("character_counts", "Dict[str, int]", "how often each character occurs"),
        ("compress", "str", "the text with runs of a letter replaced by the letter and its count"),
        ("caesar_shift", "str", "the text with every letter shifted by three places"),
    ],
    "dictionary from names to numbers": [
        ("highest_name", "str", "the name with the highest number"),
        ("invert", "Dict[int, List[str]]", "the names that belong to each number"),
        ("above_average", "List[str]", "the names whose number lies above the average"),
        ("sorted_items", "List[Tuple[str, int]]", "its items sorted by number, largest first"),
        ("total", "int", "the sum of all numbers"),
        ("without_negative", "Dict[str, int]", "the entries whose number is not negative"),
    ],
    "positive integer": [
        ("divisors", "List[int]", "all its divisors"),
        ("is_perfect", "bool", "whether it equals the sum of its proper divisors"),
        ("reverse_digits", "int", "the number with its digits reversed"),
    ],
    "matrix given as a list of rows": [
        ("transpose", "List[List[int]]", "the transposed matrix"),
        ("row_sums", "List[int]", "the sum of each row"),
        ("diagonal", "List[int]", "the elements of the main diagonal"),
        ("flatten", "List[int]", "all elements in one list, row by row"),
        ("is_symmetric", "bool", "whether it is symmetric"),
    ],
}
EXTRA = [
    "",
    " Return an empty result for empty input.",
    " Do not change the argument.",
    " Use a simple loop.",
    " Raise a ValueError if the argument is empty.",
    " Add a docstring and a short example.",
]
VARIANTS = 9  # ways of asking that are tried for each task


def main() -> None:
    draw = random.Random(0)
    prompts = []
    for kind, tasks in TASKS.items():
        type_, name, examples = KINDS[kind]
        for function, result, what in tasks:
            head = f"def {function}({name}: {type_}) -> {result}:\n"
            extra, example = draw.choice(EXTRA), draw.choice(examples)
            prompts.append(
                f'from typing import *\n\n\n{head}    """ Given a {kind}, return {what}.{extra}\n'
                f'    >>> {function}({example})\n    """\n'
            )
            for _ in range(VARIANTS):
                extra = draw.choice(EXTRA)
                ways = [
                    f"Write a Python function `{function}` that takes a {kind} and returns {what}."
                    f"{extra}",
                    f"Implement {function}({name}) in Python. It gets a {kind} and returns {what}."
                    f"{extra}",
                    f'Complete this function.\n\n{head}    """Return {what}."""\n',
                    f"I have a {kind} called {name}. How do I get {what} in Python?{extra}",
                    f"{head}    '''\n    Return {what}.{extra}\n    '''\n",
                    f"Write tests with assert for a function {function}({name}) that returns "
                    f"{what} of a {kind}, and the function itself.",
                ]
                prompts.append(draw.choice(ways))
    prompts = list(dict.fromkeys(prompts))
    draw.shuffle(prompts)
    lines = [json.dumps({"prompt": prompt}) + "\n" for prompt in prompts]
    (Path(__file__).parent / "code.jsonl").write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()

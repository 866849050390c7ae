"""Make the small pictures of lessons/README.md from the figures that the lessons draw. Run all lessons first.

for lesson in lessons/[0-9]*.py; do python $lesson; done && python scripts/lesson_pictures.py
"""

from pathlib import Path

from PIL import Image

LESSONS = Path(__file__).parent.parent / "lessons"
SIZE = (220, 110)  # at most, in pixels
SHOWN = (
    "01_means", "02_weights", "03_by_hand", "04_boundaries", "05_slide", "06_dx_place_by_place", "07_max_pool",
    "08_graph", "09_plateau", "10_mistakes", "11_saliency", "12_remedies", "13_accuracy_and_cost", "14_receptive_field",
    "15_digit_and_gradient", "16_mistakes", "17_speeds", "18_claims", "19_by_step",
)  # fmt: skip


def main() -> None:
    """Write one picture for each lesson."""
    folder = LESSONS / "pictures"
    folder.mkdir(exist_ok=True)
    for name in SHOWN:
        picture = Image.open(LESSONS / "output" / f"{name}.png").convert("L")
        picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
        picture.save(folder / f"{name[:2]}.png", optimize=True)


if __name__ == "__main__":
    main()

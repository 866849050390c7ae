"""The command line: `scratchnet train`, `evaluate`, `predict`, `reproduce`, `summary`, `explain`, `step` and more.

Exit codes: 0 done; 1 failed, with a message on stderr; 2 wrong usage; 130 interrupted; 143 and 129 after SIGTERM and
SIGHUP; 141 if whatever reads the output stopped early, as `head` does. From 129 on, 128 and the number of the signal.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import scratchnet as sn
from scratchnet.console import finish_printing, never_refuse, say
from scratchnet.data import DataWarning, RandomAffine
from scratchnet.data.registry import DATASETS, DIGITS
from scratchnet.data.sources import is_path
from scratchnet.engine import DEFAULT_ENGINE, ENGINES, READABLE_ENGINE, Planned, is_compiled, ops
from scratchnet.interop.onnx_export import LAYOUTS
from scratchnet.layers.initial import RULES
from scratchnet.models import ARCHITECTURES, Architecture
from scratchnet.parallel.shards import DEFAULT_SHARDS
from scratchnet.parallel.team import under_mpiexec, whole_team
from scratchnet.parallel.together import (
    describe_ranks,
    ending_together,
    from_first,
    one_first,
    require_alike,
    speaking_as_one,
)
from scratchnet.program import Started, command_line
from scratchnet.reading import FileFault, user_path
from scratchnet.runs.checkpoint import trained_classes, trained_on
from scratchnet.runs.identity import fingerprint
from scratchnet.runs.lock import locked
from scratchnet.runs.metrics import METRICS
from scratchnet.runs.options import (
    DEFAULT_LR,
    MODEL,
    SETTINGS,
    TRAIN_DEFAULTS,
    as_recipe,
    check_data_dir,
    check_ranks,
    check_same_engine,
    check_same_settings,
    make_room,
    new_settings,
    output_folder,
    resume_command,
    resumed_settings,
    with_ranks,
    write_settings,
)
from scratchnet.runs.recipes import ORIGINAL, RECIPES, SAMPLE, SCHEDULES, current_name
from scratchnet.runs.run import EVALUATION_BATCH, RunNotKept
from scratchnet.tables import beside, table
from scratchnet.version import __version__

if TYPE_CHECKING:
    from scratchnet.data.photographs import Reading
    from scratchnet.explorer.opening import Opened

# Sizes of batches that `warm-up` compiles for, and whether in training: those of the recipes, of `fit`, `evaluate` and
# `predict`, and a single image.
WARM_UP_BATCHES = [(N, True) for N in (1, SAMPLE.batch_size, 128)] + [(N, False) for N in (1, 256, EVALUATION_BATCH)]
UNSURE = 0.6  # if the highest probability is below this, the answer is called unsure

REPRODUCE_FOLDER = Path("runs/reproduce")
STUDY_SEEDS = 5
LAST_SEED = 2**63 - 1  # every framework's generator takes these
WHERE = "the folder with the four IDX files; otherwise SCRATCHNET_DATA, the cache folder, or a download"
DEFAULT_MODEL = REPRODUCE_FOLDER / "standard_cnn" / MODEL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    never_refuse()
    Started.as_command |= arguments is None
    try:
        try:
            return run(arguments)
        finally:
            finish_printing()
    except BrokenPipeError:
        return 141


def run(arguments: Sequence[str] | None) -> int:
    """Run the command that the arguments name; returns the exit code."""
    try:
        with as_one_program():
            options = build_parser().parse_args(arguments)
            check_together(options)
            if options.engine:
                sn.use_engine(options.engine)
            with ExitStack() as options.until_the_end, data_warnings_as_notes():
                options.command(options)
    except KeyboardInterrupt as error:
        say(getattr(error, "outcome", str(error)) or "interrupted")
        return 128 + getattr(error, "signal", signal.SIGINT)
    except BrokenPipeError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, MemoryError, ImportError) as error:
        print(f"scratchnet: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def data_warnings_as_notes() -> Iterator[None]:
    """Print a DataWarning as one line, without the source that it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        usual = warnings.showwarning

        def show(message: Any, category: Any, *place: Any, **more: Any) -> None:
            say(f"note: {message}") if issubclass(category, DataWarning) else usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


@contextmanager
def as_one_program() -> Iterator[None]:
    """If mpiexec has started several processes, have them be one program: rank 0 prints, an error ends all."""
    if not under_mpiexec():
        yield
        return
    team = whole_team()
    with speaking_as_one(team), ending_together(team):
        yield


def check_together(options: argparse.Namespace) -> None:
    """ValueError if mpiexec has started processes that differ, or several for a command that is for one."""
    team = whole_team()
    given = vars(options).items()
    require_alike(team, {name: str(value) for name, value in given if name not in ("command", "until_the_end")})
    if team.size > 1 and options.command not in (train, info):
        raise ValueError("mpiexec is for the commands train and info; start this one without it")


# ---------------------------------------------------------------- train


def train(options: argparse.Namespace) -> None:
    """Train one model, and write the model, its metrics and its training curves to a folder."""
    folder = user_path(options.out or f"runs/{options.model}")
    team = whole_team()  # this process alone, unless mpiexec has started several; rank 0 of them has the folder
    command = with_ranks(command_line("train", options.model, "--out", folder), team.size)
    settings = {}
    if team.rank == 0:
        options.until_the_end.enter_context(locked(output_folder(folder)))
        settings = resumed_settings(folder, options) if options.resume else new_settings(options)
    settings = from_first(team, settings)
    sn.use_engine(sn.current_engine())  # an engine that cannot run raises its error before anything is written
    check_same_engine(folder, settings, command)
    check_ranks(folder, settings, team.size)
    training, test = one_first(team, lambda: load_data(settings))
    net = network_for(ARCHITECTURES[settings["model"]], training, seed=settings["seed"], init=settings["init"])
    arguments = as_recipe(settings).fit_arguments(net, len(training))
    if not options.resume and team.rank == 0:
        make_room(folder, options.overwrite)
        write_settings(folder, settings)
    print(f"training {net.name} on {len(training):,} {training.name}, engine {sn.current_engine()}")
    if team.size > 1:
        print(describe_ranks(team, resume_command(command, sn.current_engine())))
    with resume_hint(command, folder, settings):
        history = sn.fit(
            net,
            training,
            test,
            **arguments,
            seed=settings["seed"],
            folder=folder,
            resume=options.resume,
            checkpoint_every=options.checkpoint_every,
            shards=settings["shards"],
        )
    if team.rank != 0:
        return
    sn.save(net, folder / MODEL, trained_on=training)
    curves = sn.plots.save_figure(sn.plots.training_curves({net.name: history}), folder / "training_curves.png")
    print(f"accuracy on {len(test):,} {test.name}: {history.epochs[-1]['test_accuracy']:.2%}")
    print_written([folder / MODEL, folder / METRICS, curves])


@contextmanager
def resume_hint(command: str, folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """If the block is interrupted or its files fail, print the command that goes on, with the present engine."""
    try:
        yield
    except (KeyboardInterrupt, RunNotKept):
        if whole_team().rank == 0 and not (folder / SETTINGS).exists():  # the folder was deleted or moved
            with suppress(OSError):
                write_settings(folder, settings)
        say(f"\nTo go on:  {resume_command(command, sn.current_engine())}")
        raise


# ---------------------------------------------------------------- the other commands


def evaluate(options: argparse.Namespace) -> None:
    """Loss and accuracy of a trained model."""
    check_data_dir(options.data, options.data_dir)
    net = sn.load(options.model)
    _, test = load_data(vars(options))
    check_fit(net, test)
    check_same_classes(options.model, test)
    loss, accuracy = sn.evaluate(net, test, progress=True)
    print(f"{net.name} on {len(test):,} {test.name}: accuracy {accuracy:.2%}, cross-entropy {loss:.4f} nats")


def predict(options: argparse.Namespace) -> None:
    """The class of each picture, the image that the network saw, and the probabilities."""
    from scratchnet.show.plots import prediction, save_figure

    if not options.model.exists():
        raise FileNotFoundError(
            f"{options.model}: no trained model here; train all with '{command_line('reproduce')}', or name one with "
            "--model"
        )
    sn.use_engine(sn.current_engine())
    net = sn.load(options.model)
    info, trained = info_of(options.model, options.data), trained_classes(options.model)
    faults = 0
    for path in options.images:
        try:
            reading = read_picture(path, net, info, bool(trained), options.many)
        except (FileFault, OSError) as fault:
            if len(options.images) == 1:
                raise
            faults += 1
            say(f"scratchnet: {fault}")
            continue  # one bad file does not lose the results of the others
        answers = reading.answers(net.predict)
        names = class_names(net, info, answers.shape[1], trained)
        print_prediction(path, reading, answers, names, net.name)
        if options.save is not None:
            figure = prediction(reading, answers, names, path.name)
            print_written([save_figure(figure, options.save / f"{path.name}.png")])
    if faults:
        raise FileFault(f"{faults} of {len(options.images)} pictures could not be read")


def print_prediction(path: Path, reading: Reading, answers: np.ndarray, names: list[str], reader: str) -> None:
    """What a network, the reader, saw in a picture, and its answers: probabilities (digits, classes)."""
    from scratchnet.data.photographs import as_text, cut_out

    what = "digit" if tuple(names) == DIGITS else "class"
    if len(answers) > 1:
        print(f"{path}: from left to right {' '.join(names[i] for i in answers.argmax(axis=1))}")
    for digit, probabilities in zip(reading.digits, answers, strict=True):
        print(f"{path}: {names[probabilities.argmax()]}, with probability {probabilities.max():.1%}; {reader} saw")
        if probabilities.max() < UNSURE:
            thing = "digit" if what == "digit" else "thing"
            print(f"(unsure: does the picture below look like one {thing}, upright and whole?)")
        seen = as_text(digit.image)
        whole = reading.picture[digit.rows, digit.columns].shape == reading.picture.shape
        print(seen if whole else beside(as_text(cut_out(reading, digit)), seen))
        bars = [f"{p:6.1%} {'#' * round(30 * p)}" for p in probabilities]
        print(table([what, "probability"], list(zip(names, bars, strict=True))))


def info_of(model: Path, name: str | None) -> sn.data.DatasetInfo | None:
    """The record of the data set `name`, or else of the one that the model's file names; None if it names none."""
    name = name or trained_on(model)
    if name is not None and name not in DATASETS:
        raise ValueError(
            f"{model}: was trained on the data set {name!r}, which is not known here. Import the module that registers "
            f"it first, or name one of {', '.join(DATASETS)} with --data"
        )
    return None if name is None else DATASETS[name]


def class_names(
    net: sn.Network, info: sn.data.DatasetInfo | None, outputs: int, trained: tuple[str, ...] = ()
) -> list[str]:
    """The names of a network's outputs: the classes of a data set, or else those that it was trained on; and numbers
    for outputs without a name."""
    known = info.classes if info else trained
    if info and len(known) > outputs:
        raise ValueError(f"{net.name}: has {outputs} outputs, but {info.title} has {len(known)} classes")
    return [*known, *map(str, range(len(known), outputs))]


def read_picture(path: Path, net: sn.Network, info: sn.data.DatasetInfo | None, own: bool, many: bool) -> Reading:
    """A picture as images for the network: one, or all that it shows.

    It is prepared as the images of the data set were. For a network that was trained on one's own pictures (own), or
    that takes other images than square grey ones, it is scaled.
    """
    from scratchnet.data.photographs import SIDE, read_digits, read_one, read_sign, scaled_picture, whole_picture

    H, W, C = net.input_shape or (SIDE, SIDE, 1)
    square_and_grey = H == W and C == 1
    if info is None and (own or not square_and_grey):
        if many:
            raise ValueError(f"{net.name}: reads pictures as a whole, as it was trained; leave out --many")
        return scaled_picture(path, (H, W, C))
    if info is not None and not square_and_grey:
        raise ValueError(
            f"{net.name}: takes images of shape {(H, W, C)}, but those of {info.title} are square and grey"
        )
    if info and info.pictures == "object":
        return whole_picture(path, H)
    if many:
        return read_digits(path, H)
    return read_one(path, H) if info is None or info.classes == DIGITS else read_sign(path, H)


def reproduce(options: argparse.Namespace) -> None:
    """Train every network, and compare the results with those of the original."""
    recipe = options.recipe or (ORIGINAL if options.data and DATASETS[options.data].files else "sample")
    data = options.data or ("sample" if recipe == "sample" else "mnist")
    whole = bool(DATASETS[data].files)  # and not a sample, which takes a minute or two
    if whole == (recipe == "sample"):
        suits = [name for name, info in DATASETS.items() if bool(info.files) != whole]
        raise ValueError(
            f"--recipe {recipe}: expected --data {' or '.join(suits)}, got --data {data}; leave --recipe out to train "
            "as suits that data, or leave --data out to train by that recipe on the data that it is for"
        )
    if not whole and (options.seeds or options.data_dir is not None):
        given = f"--seeds {options.seeds}" if options.seeds else f"--data-dir {options.data_dir}"
        raise ValueError(
            f"{given}: expected a whole data set to train on, got {DATASETS[data].title}; add --data mnist (some "
            "minutes for each run of each network), or leave the option out"
        )
    if whole:
        reproduce_whole(options, recipe, data)
    else:
        reproduce_once(options, data)


def reproduce_whole(options: argparse.Namespace, recipe: str, data: str) -> None:
    """Make several runs of each network on a whole data set, each saved as JSON when it is done."""
    from scratchnet.study.experiments import planned
    from scratchnet.study.reproduce import reproduce_whole

    default = f"{REPRODUCE_FOLDER}-{recipe}{'' if data == 'mnist' else f'-{data}'}"
    folder = output_folder(user_path(options.out or default))
    seeds = range(options.seed, options.seed + (options.seeds or STUDY_SEEDS))
    where = ["--data-dir", options.data_dir] if options.data_dir else []
    again = ["--recipe", recipe, "--data", data, "--out", folder, *where, "--seed", options.seed, "--seeds", len(seeds)]
    command = command_line("reproduce", *again)
    options.until_the_end.enter_context(locked(folder))
    sn.use_engine(sn.current_engine())
    train, test = sn.data.load(data, options.data_dir)  # an error comes before anything is written
    networks = {e.network_name: asdict(e.recipe) for e in planned(recipe, [0], data)}
    settings = {"recipe": recipe, "networks": networks} | engine_and_data(train, test)
    if options.resume:
        check_same_settings(folder, settings, command)
    else:
        make_room(folder, options.overwrite, [path.name for path in folder.glob(f"{recipe}-*-seed_*.json")])
        write_settings(folder, settings)
    print(
        f"Recipe {recipe}, {len(train):,} {train.name}, random seeds {seeds[0]} to {seeds[-1]}, engine "
        f"{sn.current_engine()}."
    )
    print_left_out(train)
    with resume_hint(command, folder, settings):
        results, written = reproduce_whole(folder, recipe, seeds, data, options.data_dir)
    print(f"\n{results}\n")
    print_written(written)


def reproduce_once(options: argparse.Namespace, data: str) -> None:
    """Make one run of each network on a sample, save the models and draw their figures."""
    from scratchnet.study.reproduce import architectures_for, reproduce

    default = REPRODUCE_FOLDER if data == "sample" else f"{REPRODUCE_FOLDER}-{data}"
    folder = output_folder(user_path(options.out or default))
    command = command_line("reproduce", "--data", data, "--out", folder, "--seed", options.seed)
    sn.use_engine(sn.current_engine())
    training, test = sn.data.load(data)
    settings = {"seed": options.seed, "recipe": asdict(SAMPLE)} | engine_and_data(training, test)
    names = [architecture.name for architecture in architectures_for(training)]
    for place in [folder, *(folder / name for name in names)]:
        options.until_the_end.enter_context(locked(place))
    if options.resume:
        check_same_settings(folder, settings, command)
    else:
        for place in [folder, *(folder / name for name in names)]:
            make_room(place, options.overwrite)
        write_settings(folder, settings)
    print(f"{', '.join(names)}: {len(training):,} {training.name}, engine {sn.current_engine()}.")
    print_left_out(training)
    with resume_hint(command, folder, settings):
        results, written = reproduce(folder, training, test, SAMPLE, options.seed, options.resume)
    print(f"\n{results}\n")
    print_written(written)


def engine_and_data(training: sn.Dataset, test: sn.Dataset) -> dict[str, Any]:
    """What decides the table of a reproduction besides the recipe: the engine, and the data of both parts."""
    parts = {"training images": training.images, "training labels": training.labels}
    parts |= {"test images": test.images, "test labels": test.labels}
    return {"engine": sn.current_engine(), "data": {name: fingerprint(array) for name, array in parts.items()}}


def summary(options: argparse.Namespace) -> None:
    """The layers of a model: an architecture by name, or a trained model's file."""
    print(network(options.model).summary())


def export(options: argparse.Namespace) -> None:
    """Write a trained model to an ONNX file, for other runtimes."""
    net = sn.load(options.model)
    sn.interop.to_onnx(net, options.onnx, layout=options.layout)
    print(f"{net.name}: takes images as {options.layout}; computes what it does here, up to rounding")
    print_written([options.onnx])


def explain(options: argparse.Namespace) -> None:
    """The kernels that a training step of a model runs, and why they were chosen."""
    print(sn.explain(network(options.model), options.batch_size))


def warm_up(options: argparse.Namespace) -> None:
    """Compile ahead what models need, as for a classroom, a container or continuous integration.

    For training and prediction, with all optimisers, in batches of the usual sizes.
    """
    if not is_compiled():
        raise ValueError(f"warm-up: expected a compiled engine, got {sn.current_engine()}, which compiles nothing")
    from scratchnet.info import compiled_folder

    plans = []
    for net in map(network, options.models or ARCHITECTURES):
        one = net.output_shapes()[0]
        passes = [((size, *one), np.float32, training) for size, training in WARM_UP_BATCHES]
        optimizers = [kind(net.parameters(), 0.1) for kind in (sn.SGD, partial(sn.SGD, momentum=0.9), sn.Adam)]
        plans.append(Planned(net, passes, optimizers, RandomAffine()))
    ops.prepare(plans)
    print(f"all is compiled for {', '.join(plan.net.name for plan in plans)}; the code is in {compiled_folder()}")


def step(options: argparse.Namespace) -> None:
    """Walk one image forward and backward through a network, a stage at a time."""
    from scratchnet.show.stages import as_text, walk
    from scratchnet.show.subject import from_file, how_well

    check_data_dir(options.data, options.data_dir)
    path = None if options.model in (None, *ARCHITECTURES) else model_file(options.model)
    if path is not None and options.untrained:
        raise ValueError(f"--untrained: expected the name of an architecture, or none; {path} has its own weights")
    train, digits = load_data(vars(options))
    if not 0 <= options.digit < len(digits):
        raise ValueError(f"--digit: expected 0 to {len(digits) - 1}, one of the {digits.name}; got {options.digit}")
    net, weights = new_subject(options, train) if path is None else (sn.load(path), from_file(path))
    check_fit(net, digits)
    sn.use_engine(options.engine or READABLE_ENGINE)
    about = f"{weights}\n{how_well(net, digits, options.digit)}"
    one = digits[options.digit : options.digit + 1]
    stages = walk(net, one.images, one.labels)
    label = one.class_name(int(one.labels[0]))
    named = f"{one.labels[0]}, {label}" if label != str(one.labels[0]) else f"a {label}"
    subject = f"{net.name}, digit {options.digit}: {named}"
    if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from scratchnet.show.terminal import run

        run(stages, subject, about)
    else:
        print("\n\n".join([f"{subject}\n{about}", *map(as_text, stages)]))


def new_subject(options: argparse.Namespace, train: sn.Dataset) -> tuple[sn.Network, str]:
    """A network for `step` to walk through, which learns for some seconds, and a sentence on its weights.

    An architecture learns on the engine of `scratchnet train`. The small network, which stands in if none is named,
    learns on the walk's, which compiles nothing.
    """
    from scratchnet.show.subject import UNTRAINED, small_cnn, train_shortly

    if options.model is None:
        net, engine = small_cnn(train.images.shape[1:], train.class_count()), READABLE_ENGINE
    else:
        net, engine = network_for(ARCHITECTURES[options.model], train, init=SAMPLE.init), sn.current_engine()
    if options.untrained:
        return net, UNTRAINED
    say(f"{net.name} learns for some seconds; --untrained leaves that out, and so does a trained model's file")
    with sn.use_engine(options.engine or engine):
        return net, train_shortly(net, train)


def explore(options: argparse.Namespace) -> None:
    """Draw a digit in the browser, and walk forward and backward through a network, every number in reach."""
    opened = opened_for_explorer(options)
    if options.export is not None:
        from scratchnet.explorer.export import export_page

        export_page(opened, options.export, options.digit)
        print_written([options.export])
        return
    from scratchnet.explorer.run import serve

    serve(opened, options.port, not options.no_browser)


def opened_for_explorer(options: argparse.Namespace) -> Opened:
    """The network and the data that the explorer's options name. An architecture learns first, for some seconds."""
    from scratchnet.explorer.opening import Opened, trained
    from scratchnet.show.subject import small_cnn

    check_data_dir(options.data, options.data_dir)
    words = [options.model] if options.model else []
    words += ["--engine", options.engine] if options.engine else []
    words += ["--untrained"] if options.untrained else []
    words += ["--data", str(options.data)] if options.data != "sample" else []
    if options.model is not None and options.model not in ARCHITECTURES:
        net = network(options.model)
        training, test = load_data(vars(options))
        check_fit(net, test)
        return Opened(net, test, training, None, words)
    training, test = load_data(vars(options))
    net = network_for(ARCHITECTURES[options.model], training) if options.model else small_cnn()
    check_fit(net, test)
    first = None if options.untrained else trained(net, training)
    return Opened(net, test, training, first, words)


def info(options: argparse.Namespace) -> None:
    """The machine, the libraries and the data."""
    from scratchnet.info import describe_machine

    described = describe_machine()
    width = max(map(len, described))
    print("\n".join(f"{name:{width}}  {value}" for name, value in described.items()))


def check(options: argparse.Namespace) -> None:
    """Check exercises, and say what is wrong with each answer."""
    from scratchnet.exercises.checker import (
        as_json,
        check_file,
        check_folder,
        find_exercise,
        find_folder,
        progress_table,
    )

    folder = find_folder(options.folder)
    if options.all or not options.exercises:
        results = check_folder(folder)
        text = progress_table(results)
    else:
        names = [find_exercise(number).name for number in options.exercises]
        results = [check_file(folder / f"{name}.py", quiet=options.json) for name in names]
        text = "\n\n".join(map(str, results))
    print(as_json(results) if options.json else text)
    if not all(result.status == "done" for result in results):
        raise SystemExit(1)


def hint(options: argparse.Namespace) -> None:
    """A hint for an exercise: level 1 is a first idea, the last is nearly the answer."""
    from scratchnet.exercises.checker import find_exercise
    from scratchnet.exercises.checker import hint as hint_for

    print(hint_for(find_exercise(options.exercise), options.level))


def network(model: str) -> sn.Network:
    """An untrained architecture by its name, or a trained model by its file or its run's folder."""
    return ARCHITECTURES[model].make() if model in ARCHITECTURES else sn.load(model_file(model))


def model_file(model: str) -> Path:
    """The file of a trained model, which is named by its path or by its run's folder."""
    path = user_path(model)
    if not path.exists():
        raise FileNotFoundError(
            f"{model}: neither a trained model's file, nor a run's folder, nor one of {', '.join(ARCHITECTURES)}"
        )
    if not path.is_dir():
        return path
    if not (path / MODEL).exists():
        raise FileNotFoundError(f"{path}: expected a run's folder with {MODEL}, which is written when the run ends")
    return path / MODEL


def network_for(architecture: Architecture, data: sn.Dataset, **options: Any) -> sn.Network:
    """An untrained network for the data: the usual one if it takes the data, and made to fit for one's own."""
    shape, classes = data.images.shape[1:], data.class_count()
    own = data.info is not None and data.info.own
    usual = architecture.takes(shape, classes) and not own
    net = architecture.make(**options) if usual else architecture.make_for(shape, classes, **options)
    check_fit(net, data)
    return net


def check_same_classes(model: Path, data: sn.Dataset) -> None:
    """ValueError if the model's file names classes, and the data has others for the same labels."""
    trained, given = trained_classes(model), data.info.classes if data.info else ()
    if trained and trained[: len(given)] != given:
        raise ValueError(
            f"{model}: was trained on the classes {', '.join(trained)}, but the {data.name} have {', '.join(given)}"
        )


def check_fit(net: sn.Network, data: sn.Dataset) -> None:
    """ValueError if the network takes images of another shape, or has fewer outputs than the data has classes."""
    shape, classes = data.images.shape[1:], data.class_count()
    if net.input_shape not in (None, shape):
        raise ValueError(
            f"{net.name}: takes images of shape {net.input_shape}, but the {data.name} has images of shape {shape}; "
            "name data that fits with --data"
        )
    outputs = net.output_shapes(shape)[-1][-1]
    if outputs < classes:
        raise ValueError(f"{net.name}: has {outputs} outputs, but the {data.name} has {classes} classes")


def print_left_out(data: sn.Dataset) -> None:
    """Print the names of the networks that do not take such images; ValueError if none does."""
    from scratchnet.study.reproduce import architectures_for

    taken = architectures_for(data)
    if not taken:
        raise ValueError(
            f"no network takes the {data.name}: images of shape {data.images.shape[1:]} in {data.class_count()} "
            "classes. Register one that does"
        )
    if left := [name for name, architecture in ARCHITECTURES.items() if architecture not in taken]:
        print(f"Left out (made for other images): {', '.join(left)}.")


def load_data(settings: dict[str, Any]) -> tuple[sn.Dataset, sn.Dataset]:
    """The training and the test part of the data that the settings of a run, or the options of a command, name."""
    train_images = settings.get("train_images", TRAIN_DEFAULTS["train_images"])
    return sn.data.load(settings["data"], settings["data_dir"], train_images, settings["transpose"])


def print_written(paths: Sequence[Path]) -> None:
    """Print the paths of the files that a command wrote. An OSError names those that are not there any more."""
    print("written:\n" + "\n".join(f"  {path}" for path in paths if path.exists()))
    gone = [str(path) for path in paths if not path.exists()]
    if gone:
        raise FileNotFoundError(f"deleted or moved since they were written: {', '.join(gone)}")


# ---------------------------------------------------------------- options


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog=command_line(),
        description="Convolutional networks written by hand: train them, look at them, use them.",
        epilog="examples:\n"
        "  %(prog)s reproduce                      train the three networks on the built-in digits\n"
        "  %(prog)s reproduce --data mnist         the same on all of MNIST, as the original trained them\n"
        "  %(prog)s train standard_cnn --epochs 3  train one of them\n"
        "  %(prog)s predict digit.png              read a picture of a digit\n"
        "  %(prog)s COMMAND --help                 the options of a command",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scratchnet {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)

    command = _add(commands, "evaluate", evaluate, "%(prog)s runs/standard_cnn/model.safetensors --data mnist")
    command.add_argument("model", type=user_path, help="a trained model's file")
    _add_data_options(command, default="sample")

    command = _add(commands, "predict", predict, "%(prog)s photo.jpg digit.png --model my.safetensors")
    command.add_argument(
        "images", nargs="+", type=user_path, metavar="IMAGE", help="PNG or JPEG, dark on light or light on dark"
    )
    command.add_argument(
        "--model", type=user_path, default=DEFAULT_MODEL, help="a trained model's file (default: %(default)s)"
    )
    command.add_argument(
        "--data", choices=list(DATASETS), help="the data set that it was trained on: it decides the names of the "
        "classes and how pictures are prepared (default: the one that its file names)"
    )  # fmt: skip
    command.add_argument("--many", action="store_true", help="read several digits in a picture, from left to right")
    command.add_argument(
        "--save", type=user_path, metavar="FOLDER", help="write a figure of each picture and its answer there"
    )

    command = _add(commands, "reproduce", reproduce, "%(prog)s --data mnist --recipe modern --seeds 1")
    command.add_argument(
        "--recipe",
        type=current_name,
        choices=["sample", ORIGINAL, *RECIPES],
        help="how to train. sample: for the sample, a minute or two. The others are for a whole data set, and "
        "take some minutes for each run of each network. original: as the README that the networks come from; modern: "
        "a better optimiser and initialisation, as many steps; augmented: modern, with images turned and shifted "
        "(default: sample; original if --data names a whole data set)",
    )
    command.add_argument(
        "--data", choices=list(DATASETS), help="(default: sample or mnist, whichever the recipe is for)"
    )
    command.add_argument("--data-dir", help=WHERE)
    command.add_argument(
        "--seed",
        type=_whole(0, LAST_SEED),
        default=0,
        help="random seed of the weights, the batches and dropout (default: 0)",
    )
    command.add_argument(
        "--seeds",
        type=_whole(1),
        metavar="COUNT",
        help="on a whole data set: how many runs of each network, with the random seeds --seed, --seed + 1 and so on "
        f"(default: {STUDY_SEEDS})",
    )
    _add_folder_options(command, f"{REPRODUCE_FOLDER}, or {REPRODUCE_FOLDER}-RECIPE on mnist, or -RECIPE-DATA")

    trained = "a trained model's file, or the folder of its run"
    command = _add(commands, "summary", summary, "%(prog)s separable_cnn")
    command.add_argument("model", help=f"{', '.join(ARCHITECTURES)}, or {trained}")

    command = _add(commands, "export", export, "%(prog)s runs/standard_cnn/model.safetensors net.onnx --layout NHWC")
    command.add_argument("model", type=user_path, help="a trained model's file")
    command.add_argument("onnx", type=user_path, metavar="NET.onnx", help="the file to write")
    command.add_argument(
        "--layout", choices=LAYOUTS, default=LAYOUTS[0], help="the order of the images' axes (default: %(default)s)"
    )

    command = _add(commands, "explain", explain, "%(prog)s four_conv_cnn --batch-size 1")
    command.add_argument("model", help=f"{', '.join(ARCHITECTURES)}, or {trained}")
    command.add_argument("--batch-size", type=_whole(1, 4096), default=128, help="images a step (default: %(default)s)")

    command = _add(commands, "warm-up", warm_up, "%(prog)s standard_cnn")
    known = f"{', '.join(ARCHITECTURES)}, or {trained} (default: all of these networks)"
    command.add_argument("models", nargs="*", metavar="MODEL", help=known)

    engines = f"{READABLE_ENGINE}; an architecture learns on that of train"
    command = _add(commands, "step", step, "%(prog)s runs/standard_cnn --digit 3", engines)
    command.add_argument(
        "model",
        nargs="?",
        help=f"{trained}; or {', '.join(ARCHITECTURES)}, which then learn for some seconds (default: a small network, "
        "which learns for some seconds)",
    )
    command.add_argument(
        "--untrained", action="store_true", help="walk through the first weights of a network that has no file"
    )
    command.add_argument(
        "--digit", type=_whole(0), default=0, metavar="K", help="which of the test images (default: 0)"
    )
    _add_data_options(command, default="sample")

    command = _add(commands, "explore", explore, "%(prog)s runs/standard_cnn/model.safetensors")
    add_explorer_options(command)
    command.add_argument(
        "--port", type=_whole(0, 65535), default=0, metavar="N", help="of this machine (default: any free one)"
    )
    command.add_argument("--no-browser", action="store_true", help="print the page's address, and open nothing")
    command.add_argument(
        "--export", type=user_path, metavar="PAGE.html", help="write a page of one walk that needs no server, and end"
    )
    command.add_argument(
        "--digit", type=_whole(0), default=0, metavar="K", help="for --export: which of the test images (default: 0)"
    )

    command = _add(commands, "check", check, "%(prog)s 05")
    which = command.add_mutually_exclusive_group()
    numbers = "which exercises: 05, or 05 06; none means all"
    which.add_argument("exercises", nargs="*", default=[], metavar="NUMBER", help=numbers)
    which.add_argument("--all", action="store_true", help="a table of all exercises and their state")
    command.add_argument("--json", action="store_true", help="print the results as JSON, for a program to read")
    command.add_argument("--folder", help="where the exercises are (default: lessons/exercises, here or above)")

    command = _add(commands, "hint", hint, "%(prog)s 05 2")
    command.add_argument("exercise", metavar="NUMBER", help="of the exercise: 05")
    command.add_argument(
        "level", type=int, nargs="?", default=1, help="from 1, a first idea, to 3, nearly the answer (default: 1)"
    )

    _add(commands, "info", info, "%(prog)s")
    return parser


def _add(
    commands: Any,
    name: str,
    function: Callable[[argparse.Namespace], None],
    example: str,
    engine: str = f"SCRATCHNET_ENGINE, or {DEFAULT_ENGINE}",
) -> Any:
    """A command with its --engine; `engine` says in the help what runs without that option."""
    description = (function.__doc__ or f"{name}.").split("\n")[0]  # python -OO leaves docstrings out
    command = commands.add_parser(
        name,
        help=description[0].lower() + description[1:].rstrip("."),
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--engine", choices=ENGINES, help=f"the kernels to run (default: {engine})")
    command.set_defaults(command=function)
    return command


def _add_train(commands: Any) -> None:
    command = _add(commands, "train", train, "%(prog)s four_conv_cnn --optimizer sgd --lr 0.05 --epochs 5 --seed 1")
    known = "; ".join(f"{name}: {architecture.title}" for name, architecture in ARCHITECTURES.items())
    command.add_argument("model", choices=list(ARCHITECTURES), help=f"the architecture. {known}")
    length = command.add_mutually_exclusive_group()
    # An option that is not given must be absent from the result: a resumed run compares only those that were given.
    unset: Any = {"default": argparse.SUPPRESS}
    length.add_argument("--epochs", type=_whole(1), **unset, help=f"passes over the data (default: {SAMPLE.epochs})")
    length.add_argument("--steps", type=_whole(1), **unset, help="batches to train on, instead of epochs")
    command.add_argument("--batch-size", type=_whole(1), **unset, help=f"images a step (default: {SAMPLE.batch_size})")
    command.add_argument("--optimizer", choices=list(DEFAULT_LR), **unset, help="(default: adam)")
    command.add_argument(
        "--lr", type=float, **unset, help="highest learning rate (default: 0.004 for adam, 0.05 for sgd)"
    )
    command.add_argument("--momentum", type=float, **unset, help="of sgd (default: 0.9)")
    command.add_argument("--schedule", choices=SCHEDULES, **unset, help="of the learning rate (default: one-cycle)")
    command.add_argument("--init", choices=RULES, **unset, help=f"of the weights (default: {SAMPLE.init})")
    command.add_argument(
        "--seed", type=_whole(0, LAST_SEED), **unset, help="of the weights, the batches and dropout (default: 0)"
    )
    _add_data_options(command, default=argparse.SUPPRESS)
    command.add_argument(
        "--train-images", type=int, choices=[60_000, 55_000], **unset, help="of mnist: 55000 leaves out the first 5,000"
    )
    shards = f"parts of a batch, for the processes that mpiexec starts (default: none; with mpiexec {DEFAULT_SHARDS})"
    command.add_argument("--shards", type=_whole(1), **unset, help=shards)
    command.add_argument("--checkpoint-every", type=_whole(1), metavar="STEPS", help="(default: once an epoch)")
    _add_folder_options(command, "runs/MODEL")


def _add_data_options(command: Any, default: str) -> None:
    own = "the path of your own data: a folder of pictures for each class, IDX files, a CSV file or an .npz file"
    known = f"{', '.join(DATASETS)}, or {own} (default: sample)"
    command.add_argument("--data", type=_data, metavar="DATA", default=default, help=known)
    unset: Any = default == argparse.SUPPRESS
    command.add_argument("--data-dir", default=default if unset else None, help=WHERE)
    command.add_argument(
        "--transpose",
        action="store_true",
        default=default if unset else False,
        help="exchange rows and columns of the images of your own data, as EMNIST needs it",
    )


def add_explorer_options(command: Any) -> None:
    """Which network and which data to open in the explorer."""
    known = f"{', '.join(ARCHITECTURES)} (which learns for some seconds first), or a trained model's file"
    command.add_argument("model", nargs="?", metavar="MODEL", help=f"{known} (default: a small network)")
    command.add_argument("--untrained", action="store_true", help="do not train a named network first")
    _add_data_options(command, default="sample")


def _data(text: str) -> str:
    """The name of a data set, or a path at which there is something."""
    try:
        is_path(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _add_folder_options(command: Any, shown: str) -> None:
    command.add_argument("--out", help=f"the folder to write to (default: {shown})")
    earlier = command.add_mutually_exclusive_group()
    earlier.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    earlier.add_argument("--overwrite", action="store_true", help="delete the run in that folder and start anew")


def _whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """A reader of whole numbers within these limits."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > len(str(most)) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected one whole number from {least} to {most}, got {text!r}")
        return int(text)

    return read

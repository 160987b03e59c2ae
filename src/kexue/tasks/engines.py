"""One map over files, in this process or on Ray Data, with the same result.

A file is the unit of work: each is handled by one worker as it would be here, and results come
back in the order of the files. So statistics that are merged from them do not depend on the engine.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kexue._check import invalid

ENGINES = ("local", "ray")


def map_files(
    work: type[Callable[[dict[str, Any]], dict[str, Any]]],
    options: dict[str, Any],
    files: Sequence[str],
    *,
    engine: str = "local",
    workers: int = 2,
) -> Iterator[dict[str, Any]]:
    """Have a worker handle each of some files.

    Args:
        work: a class; an object of it, of which each worker makes one, takes {"number", "file"}
            and gives what Ray can send: numbers, strings, bytes and None by name.
        options: what `work` is made with.
        files: the files.
        engine: "local", this process; or "ray", as many workers as asked for, on this machine or
            on the cluster that Ray is connected to.
        workers: of Ray, each with one processor.

    Returns:
        What the workers gave, with "number", in the order of the files.

    Raises:
        ValueError: if the engine is unknown or there are no workers.
        ImportError: if Ray is not installed.

    Example:
        >>> class Length:
        ...     def __call__(self, row):
        ...         return {"length": len(row["file"])}
        >>> [row["length"] for row in map_files(Length, {}, ["a", "bcd"])]
        [1, 3]
    """
    rows = [{"number": number, "file": str(file)} for number, file in enumerate(files)]
    if engine not in ENGINES:
        raise invalid("engine", engine, " or ".join(map(repr, ENGINES)))
    if workers < 1:
        raise invalid("workers", workers, "1 or more")
    if engine == "ray":
        return _on_ray(work, options, rows, workers)
    worker = _Numbered(work, options)
    return (worker(row) for row in rows)


def _on_ray(
    work: type[Callable[[dict[str, Any]], dict[str, Any]]],
    options: dict[str, Any],
    rows: list[dict[str, Any]],
    workers: int,
) -> Iterator[dict[str, Any]]:
    try:
        import ray
    except ImportError:
        raise ImportError(
            'Ray is not installed. Install it with: pip install "kexue[ray]"'
        ) from None
    if not ray.is_initialized():
        ray.init(
            include_dashboard=False,
            configure_logging=True,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    # The commands show their own progress.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    found = data.map(
        _Telling,
        fn_constructor_kwargs={"work": work, "options": options},
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    done = sorted(found.take_all(), key=lambda row: row["number"])
    for row in done:
        if row.get("error") is not None:
            raise ValueError(row["error"])
    return iter(done)


class _Numbered:
    """A worker whose results say which file they are of: Ray gives them in any order."""

    def __init__(self, work: type, options: dict[str, Any]) -> None:
        self.worker = work(**options)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**self.worker(row), "number": row["number"]}


class _Telling:
    """A worker on Ray, where what is wrong with a file would arrive inside of other errors."""

    def __init__(self, work: type, options: dict[str, Any]) -> None:
        self.worker = _Numbered(work, options)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.worker(row)
        except (ValueError, OSError) as error:
            return {"number": row["number"], "error": str(error)}

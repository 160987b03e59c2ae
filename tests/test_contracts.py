"""What every public name promises: documentation, keyword-only options, no surprise in a class."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import pytest

import kexue

# Where other people's code calls us with its own arguments, so that ours cannot be keyword-only.
POSITIONAL_DEFAULTS = {
    "kexue.cli.main": {"arguments"},  # as in every main(argv=None)
    "kexue.models.ClassifierConfig": {"encoder_config"},
    "kexue.models.ClassifierModel.forward": {"input_ids", "attention_mask"},
    "kexue.models.ClassifierModel.vectors": {"attention_mask"},
    "kexue.models.EntityConfig": {"encoder_config"},  # transformers builds an empty one to compare
    "kexue.models.EntityModel.forward": {"attention_mask"},  # the order of all of its models
    "kexue.attention.residual_attend": {"previous"},  # the first layer has none
    "kexue.models.SentenceConfig": {"encoder_config"},
    "kexue.models.SentenceModel.forward": {"attention_mask"},
    "kexue.numerics.MitchellLinear": {"bias"},  # as nn.Linear has it
    "kexue.numerics.ParallelGRU.forward": {"hx"},  # as nn.GRU has it
    "kexue.numerics.ParallelRNN.forward": {"hx"},
    "kexue.analysis.tangent_kernel": {"y"},  # as kernels are written: k(x), k(x, y)
    "kexue.numerics.count_cross_colorings": {"colors"},
    "kexue.numerics.iter_cross_colorings": {"colors"},
    "kexue.numerics.expected_mitchell_error": {"operation"},  # one word says it all
    "kexue.sentences.Whitening": {"k"},  # as PCA(n_components) has it
    "kexue.models.KexueForMaskedLM.forward": {
        *("input_ids", "attention_mask", "token_type_ids", "position_ids"),
    },
    "kexue.models.KexueModel.forward": {
        *("input_ids", "attention_mask", "token_type_ids", "position_ids"),
    },
}

# Their arguments are those of the classes of transformers that they extend, and in their order.
TRANSFORMERS_SIGNATURES = {
    *("kexue.training.MetricsLog", "kexue.training.TaskTrainer"),
    "kexue.training.TaskTrainingArguments",
}

PUBLIC = {
    "kexue": ["EntityRecognizer", "SentenceEncoder", "TextClassifier", "__version__"],
    "kexue.analysis": [
        *("Bootstrap", "Leaderboard", "Move", "RankChanges", "Spread", "Standing"),
        *("bootstrap_ranks", "draw_rank_changes", "leaderboard", "prepare_scores", "rank_changes"),
        *("Attributions", "DescentStep", "descend", "integrated_gradients", "PathKernel"),
        *("path_kernel", "TangentFeatures", "tangent_features", "tangent_kernel"),
        *("AttachmentScores", "BracketScores", "SegmentationScores", "StagedEncoder"),
        *("attachment_scores", "bracket_scores", "brackets", "calibrate_threshold"),
        *("draw_impact", "draw_tree", "impact_matrix", "left_chain", "neighbour_impacts"),
        *("parse_constituents", "parse_tree", "right_chain", "segment", "segmentation_scores"),
    ],
    "kexue.attention": [
        *("LinearState", "attend", "attend_linear_state", "count_keys"),
        *("extend_linear_state", "linear_attend", "log_n_scale", "orthogonal_projection"),
        *("performer_attend", "performer_features", "post_hoc_log_n_scale", "rerope_attend"),
        "residual_attend",
    ],
    "kexue.cli": ["app", "main"],
    "kexue.data": [
        *("FORMATS", "check", "guess_format", "read", "repair", "repair_file", "stats", "write"),
        *("Answer", "Argument", "Corpus", "DataError", "Entity", "Event", "Record", "Relation"),
        *("Change", "CorpusStats", "Finding", "LabelStats", "Repair"),
        *("PAIR_FORMATS", "PAIR_SETS", "find_pair_set", "guess_pair_format", "read_pairs"),
        *("split_subsets", "SCORE_FORMATS", "ScoreTable", "read_scores", "shipped_tables"),
        *("LABELLED_TEXT_FORMATS", "read_labelled_texts", "TreeSentence", "read_conllu"),
    ],
    "kexue.heads": [
        *("EfficientGlobalPointer", "GlobalPointer", "LinearChainCRF", "ScoredSpan", "best_flat"),
        *("PairClassifier", "pair_features"),
    ],
    "kexue.heads.crf": ["LinearChainCRF", "crf_log_likelihood", "crf_marginals", "viterbi"],
    "kexue.losses": [
        *("cosent_loss", "info_nce", "multilabel_loss", "simsiam_loss", "sparse_multilabel_loss"),
        "symmetric_info_nce",
    ],
    "kexue.metrics": [
        *("ClassificationScores", "classification_scores"),
        *("CollapseReport", "LabelScore", "SpanScores", "alignment", "average_ranks"),
        *("calibrate_thresholds", "collapse_report", "span_scores", "spearman", "uniformity"),
    ],
    "kexue.models": [
        *("ClassifierConfig", "ClassifierModel", "ClassifierOutput"),
        *("EntityConfig", "EntityModel", "EntityOutput", "KexueConfig"),
        *("KexueForMaskedLM", "KexueModel", "SentenceConfig", "SentenceModel"),
        *("SentenceOutput", "apply_log_n", "apply_rerope", "longest_input"),
        *(
            "check_log_n",
            "check_rerope",
            "choose_dropout",
            "convert",
            "encoder_place",
            "from_tensorflow",
        ),
        *("lengthen_positions", "load_encoder", "load_tokenizer", "mini", "register_ntk"),
        *("remove_log_n", "remove_rerope", "rerope_cache", "restore_positions"),
        *("scratch_encoder", "scratch_tokenizer", "stage_encoder", "train_tokenizer"),
    ],
    "kexue.numerics": [
        *("jl_min_dim", "min_embedding_dim", "project", "random_projection", "sphere_entropy"),
        *("MitchellError", "MitchellLinear", "expected_mitchell_error", "from_mitchell"),
        *("measured_mitchell_error", "mitchell_divide", "mitchell_matmul", "mitchell_multiply"),
        *("mitchell_sqrt", "to_mitchell", "LinearRecurrentUnit", "ParallelGRU", "ParallelRNN"),
        *("Recurrence", "RecurrenceResult", "parallelize", "scan_affine", "scan_diagonal"),
        *("solve_recurrence", "AnalyticLogisticRegression", "count_cross_colorings"),
        *("iter_cross_colorings", "smooth", "SmoothFunction", "SmoothPieces"),
        *("PiecewisePolynomial", "RepeatedPolynomial", "SAU", "StraightThrough"),
        "smooth_maximum",
    ],
    "kexue.positions": [
        *("hierarchical_rows", "hierarchical_table", "ntk_frequencies", "rerope_distance"),
        *("rerope_scores", "rope2d_angles", "rope_angles", "rotate"),
    ],
    "kexue.sentences": [
        *("Flow", "sinkhorn"),
        *("Moments", "NearestDocuments", "SearchHit", "SearchIndex", "TransportPlan"),
        *("VectorStore", "Whitening", "append_dense", "bag_of_words", "centroid_bound", "emd"),
        *("nearest_documents", "pool", "relaxed_bound", "save_dense", "transport_plan"),
        *("wmd", "wrd"),
    ],
    "kexue.training": [
        *("CachedStep", "cached_backward", "gather_rows"),
        *("EntityCard", "LengthBucketSampler", "MetricsLog", "RunReport", "TaskTrainer"),
        *("TaskTrainingArguments", "latest_checkpoint", "progress_callback", "read_metrics"),
        *("worst_mistakes", "write_card", "write_report"),
        *("ClassifierCard", "write_classifier_card"),
    ],
}


def listed(problems):
    return "\n" + "\n".join(sorted(problems))


def modules():
    """Import every module of the package."""
    names = [m.name for m in pkgutil.walk_packages(kexue.__path__, "kexue.")]
    names = [name for name in names if not name.endswith("__main__")]
    assert len(names) > 10, "no package found"
    return [kexue, *map(importlib.import_module, names)]


def public_names():
    """List (qualified name, object) for everything in an `__all__`."""
    return [
        (f"{module.__name__}.{name}", getattr(module, name))
        for module in modules()
        for name in getattr(module, "__all__", ())
        if name != "__version__"
    ]


def sections(doc):
    """Split a google docstring into its summary and its named sections."""
    parts = re.split(r"^(Args|Attributes|Returns|Yields|Raises|Example):$", doc, flags=re.MULTILINE)
    return parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(section):
    """List the names that a section such as Args explains, in order."""
    return re.findall(r"^    (?:\*{0,2})(\w+)(?: \([^)]*\))?: \S", section, flags=re.MULTILINE)


def raises_something(function):
    """Tell whether the body has a `raise` of its own, other than in an inner function."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    todo = list(tree.body) if isinstance(tree, ast.FunctionDef) else []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            todo.extend(ast.iter_child_nodes(node))
    return False


def summary_problems(doc):
    if not doc:
        return ["no docstring"]
    lines = doc.splitlines()
    found = []
    if not re.search(r"[.?!]$", lines[0]):
        found.append("the summary is not one line that ends in a full stop")
    if len(lines) > 1 and lines[1]:
        found.append("no blank line after the summary")
    return found


def argument_problems(parameters, doc):
    """Compare parameters with what Args (or Attributes, of plain results) explains."""
    named = [p for p in parameters if p.name not in ("self", "cls", "ctx")]
    wanted = [p.name for p in named if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    open_ended = len(wanted) < len(named)
    _, parts = sections(doc)
    given = documented(parts.get("Args", parts.get("Attributes", "")))
    missing = [name for name in wanted if name not in given]
    unknown = [] if open_ended else [name for name in given if name not in wanted]
    found = [f"argument {name} is not explained" for name in missing]
    found += [f"{name} is explained but is no argument" for name in unknown]
    if not found and [name for name in given if name in wanted] != wanted:
        found.append("arguments are explained in another order than they are taken")
    return found


def function_problems(function, doc):
    signature = inspect.signature(function)
    _, parts = sections(doc)
    found = argument_problems(signature.parameters.values(), doc)
    returns = signature.return_annotation
    if returns is inspect.Signature.empty:
        found.append("the return type is not annotated")
    elif returns is not None and not parts.keys() & {"Returns", "Yields"}:
        found.append("no Returns")
    if raises_something(function) and "Raises" not in parts:
        found.append("no Raises")
    return found


def has_own_init(kind):
    """Tell whether `__init__` is written by hand in the package, not generated or inherited."""
    code = getattr(kind.__init__, "__code__", None)
    return (
        code is not None and code.co_filename != "<string>" and "kexue" in kind.__init__.__module__
    )


def method_problems(kind):
    for name, member in vars(kind).items():
        function = inspect.unwrap(getattr(member, "__func__", member))
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        doc = inspect.getdoc(function) or ""
        found = summary_problems(doc)
        inherited = any(hasattr(base, name) for base in kind.__mro__[1:])
        if doc and not inherited:
            found += function_problems(function, doc)
        yield from (f"{name}: {problem}" for problem in found)


def docstring_problems(thing):
    """Say what is missing from the docstring of a public function or class."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    found = summary_problems(doc)
    if isinstance(thing, type):
        if has_own_init(thing) or hasattr(thing, "__annotations__"):
            found += argument_problems(inspect.signature(thing).parameters.values(), doc)
        found += method_problems(thing)
    else:
        found += function_problems(thing, doc)
    if ">>> " not in sections(doc)[1].get("Example", ""):
        found.append("no runnable Example")
    return found


def keyword_problems(name, thing):
    """List the arguments with a default that can be given without their name."""
    functions = {name: thing}
    if isinstance(thing, type):
        methods = {n: m for n, m in vars(thing).items() if not n.startswith("_")}
        methods |= {"": thing.__init__} if has_own_init(thing) else {}
        functions = {f"{name}.{n}".rstrip("."): m for n, m in methods.items()}
    for where, function in functions.items():
        plain = inspect.unwrap(getattr(function, "__func__", function))
        if not inspect.isfunction(plain):
            continue
        for p in inspect.signature(plain).parameters.values():
            free = p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty
            if free and p.name not in POSITIONAL_DEFAULTS.get(where, ()):
                yield f"{where}: {p.name} is an option but not keyword-only"


def callables():
    found = [(n, thing) for n, thing in public_names() if n not in TRANSFORMERS_SIGNATURES]
    return [(n, thing) for n, thing in found if inspect.isfunction(thing) or inspect.isclass(thing)]


def test_public_names_are_documented():
    found = [f"{name}: {p}" for name, thing in callables() for p in docstring_problems(thing)]
    assert not found, listed(found)


def test_options_are_keyword_only():
    found = [p for name, thing in callables() for p in keyword_problems(name, thing)]
    assert not found, listed(found)


def test_the_public_list_is_frozen():
    lists = {m.__name__: sorted(m.__all__) for m in modules() if hasattr(m, "__all__")}
    assert lists == {name: sorted(names) for name, names in PUBLIC.items()}


def test_everything_on_a_public_list_exists():
    for module in modules():
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name}"


def is_open(kind):
    """Tell whether a class may be subclassed: an abstract one, a protocol, or a private schema.

    What transformers' naming calls the base of a family of models is abstract but for the word.
    """
    return (
        inspect.isabstract(kind)
        or getattr(kind, "_is_protocol", False)
        or kind.__name__[0] == "_"
        or kind.__name__.endswith("PreTrainedModel")
    )


def inheritance_problems(kind, *, package="kexue"):
    """List the concrete classes of the package that a class inherits from."""
    ours = [base for base in kind.__mro__[1:] if base.__module__.split(".")[0] == package]
    return [f"{kind.__qualname__} inherits from {b.__qualname__}" for b in ours if not is_open(b)]


def test_no_class_inherits_from_a_concrete_class_of_the_package():
    kinds = {
        kind
        for module in modules()
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__.split(".")[0] == "kexue"
    }
    assert len(kinds) > 3
    found = [p for kind in kinds for p in inheritance_problems(kind)]
    assert not found, listed(found)


def good(x: int, *, scale: float = 1.0) -> float:
    """Scale a number.

    Args:
        x: any number.
        scale: the factor.

    Returns:
        The product.

    Raises:
        ValueError: if `scale` is 0.

    Example:
        >>> good(2)
        2.0
    """
    if not scale:
        raise ValueError(scale)
    return x * scale


def with_doc(replaced, by):
    """Copy `good` with an edited docstring; the edit must change something."""
    assert replaced in good.__doc__

    def copy(x: int, *, scale: float = 1.0) -> float:
        if not scale:
            raise ValueError(scale)
        return x * scale

    copy.__doc__ = good.__doc__.replace(replaced, by)
    return copy


def test_a_good_function_passes():
    assert docstring_problems(good) == []
    assert list(keyword_problems("good", good)) == []


@pytest.mark.parametrize(
    ("replaced", "by", "problem"),
    [
        ("Scale a number.", "Scale a number", "not one line"),
        ("a number.\n\n", "a number.\n", "no blank line"),
        ("        scale: the factor.\n", "", "argument scale is not explained"),
        ("scale: the factor", "factor: the factor", "factor is explained but is no argument"),
        ("scale: the factor", "scale:", "argument scale is not explained"),
        ("x: any number.\n        scale: the factor", "scale: f.\n        x: n", "another order"),
        ("Returns:", "Gives:", "no Returns"),
        ("Raises:", "Beware:", "no Raises"),
        (">>> good(2)", "good(2)", "no runnable Example"),
        ("Example:", "Sample:", "no runnable Example"),
    ],
)
def test_a_bad_docstring_is_found(replaced, by, problem):
    assert any(problem in found for found in docstring_problems(with_doc(replaced, by)))


def test_a_missing_docstring_and_annotation_are_found():
    def bare(x):
        return x

    found = docstring_problems(bare)
    assert "no docstring" in found
    assert "the return type is not annotated" in found


class Point(NamedTuple):
    """A place.

    Attributes:
        x: to the right.
        y: up.

    Example:
        >>> Point(1, 2).y
        2
    """

    x: int
    y: int = 0


def test_a_plain_result_explains_its_fields():
    assert docstring_problems(Point) == []
    assert list(keyword_problems("Point", Point)) == []
    broken = type("Broken", (), dict(vars(Point), __doc__=Point.__doc__.replace("y: up", "up")))
    assert inspect.signature(broken) == inspect.signature(Point)
    assert "argument y is not explained" in docstring_problems(broken)


def test_a_method_is_checked_too():
    class Head:
        """Hold nothing.

        Example:
            >>> Head()
        """

        def loss(self, x: int, scale: float = 1.0) -> float:
            """Scale."""
            return x * scale

    found = docstring_problems(Head)
    assert "loss: argument x is not explained" in found
    assert "loss: no Returns" in found
    assert list(keyword_problems("Head", Head)) == [
        "Head.loss: scale is an option but not keyword-only"
    ]


def test_an_option_without_its_name_is_found():
    def f(x: int, scale: float = 1.0) -> float:
        return x * scale

    assert list(keyword_problems("f", f)) == ["f: scale is an option but not keyword-only"]


def test_a_concrete_base_is_found():
    class Abstract(ABC):
        @abstractmethod
        def f(self): ...

    class Shape(Protocol):
        def f(self): ...

    class Final(Abstract, Shape):
        def f(self): ...

    class Child(Final): ...

    here = __name__.split(".")[0]
    assert inheritance_problems(Final, package=here) == []
    found = inheritance_problems(Child, package=here)
    assert len(found) == 1
    assert found[0].endswith("Final")

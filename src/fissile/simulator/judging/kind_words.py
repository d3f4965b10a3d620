"""The words for each kind of error: tables of patterns over clauses whose names are marked (`passages`).

What words mean is a set of kinds, since some kinds no text can tell apart. The sets that are larger than one:

- `UNREADABLE`: a call that is cut off is a call that cannot be parsed.
- `REJECTED`: "the value of 'city' is wrong" and "unknown city" may be said of one and the same argument; whether the
  judge, the tool's answer or its exception showed it (`wrong_value`, `domain_error`, `exception`) is not in the words.
- `TYPED`: "must be a date, as a string" and "'<' not supported between 'str' and 'int'" are said of a type, and of a
  value or an exception.
- `MISUSED`, `MISNAMED`: "invalid argument 'x'" is said of a value and of a name; a bare "TypeError" of names and types.

"The result is not what was asked for" (`UNSATISFIED`) says that an attempt failed, not how.

In a pattern {A} is the mark of an argument, {T} of a tool, {N} of an argument or another quotation, {ANY} of any of
these; the other shorthands are groups of words (`SHORTHANDS`).
"""

from __future__ import annotations

from fissile.errors import ErrorKind

Kinds = frozenset[ErrorKind]
"""Kinds that the same words may mean."""

Table = tuple[tuple[Kinds, tuple[str, ...]], ...]
"""Kinds and the patterns that claim them."""

UNREADABLE: Kinds = frozenset({ErrorKind.MALFORMED_CALL, ErrorKind.TRUNCATED})
REJECTED: Kinds = frozenset({ErrorKind.WRONG_VALUE, ErrorKind.DOMAIN_ERROR, ErrorKind.EXCEPTION})
UNSATISFIED: Kinds = frozenset({ErrorKind.WRONG_STATE})
MISNAMED: Kinds = frozenset({ErrorKind.MISSING_ARGUMENT, ErrorKind.UNEXPECTED_ARGUMENT})
MISUSED: Kinds = REJECTED | MISNAMED | {ErrorKind.WRONG_TYPE}
TYPED: Kinds = REJECTED | {ErrorKind.WRONG_TYPE}
TOO_FEW: Kinds = frozenset({ErrorKind.MISSING_CALL})
TOO_MANY: Kinds = frozenset({ErrorKind.EXTRA_CALL})
UNKNOWN_TOOL: Kinds = frozenset({ErrorKind.UNKNOWN_TOOL})
WRONG_TOOL: Kinds = frozenset({ErrorKind.WRONG_TOOL})
MISSING: Kinds = frozenset({ErrorKind.MISSING_ARGUMENT})
UNEXPECTED: Kinds = frozenset({ErrorKind.UNEXPECTED_ARGUMENT})
WRONG_TYPE: Kinds = frozenset({ErrorKind.WRONG_TYPE})
TIMED_OUT: Kinds = frozenset({ErrorKind.TIMEOUT})

SHORTHANDS = {
    "{A}": r"⟦A\d+⟧",
    "{N}": r"⟦[AQ]\d+⟧",
    "{T}": r"⟦T\d+⟧",
    "{ANY}": r"⟦[ATQ]\d+⟧",
    "{TOOL}": r"(?:tool|function|operation|method|endpoint)s?",
    "{ARG}": r"(?:argument|parameter|param|field|property|input|key|keyword|attribute)s?",
    "{TYPE}": (
        r"(?:integers?|ints?|whole numbers?|numbers?(?! of)|floats?|decimals?|numeric|strings?|str|text(?! of)"
        r"|booleans?"
        r"|bools?|true or false|true/false|arrays?|lists?(?! (?:of )?(?:the )?(?:allowed|valid|supported|choices"
        r"|options))"
        r"|objects?|dict(?:s|ionar(?:y|ies))?|mapping|null|nonetype)"
    ),
    "{BE}": r"(?:is|are|was|were|be|been|being)",
    "{NOT}": r"(?:not|n't|never|no longer)",
    "{GIVEN}": (
        r"(?:given|provided|supplied|set|passed|specified|included|present|there|sent|filled in|mentioned|stated"
        r"|written)"
    ),
    "{VALUE}": (
        r"(?:value|values|option|choice|format|notation|unit|length|number of items|number of elements|amount|date"
        r"|spelling|range|setting|count|content|contents|data|entry|entries)"
    ),
    "{BAD}": r"(?:wrong|incorrect|invalid|bad|unsupported|unacceptable|inaccurate|improper|mistaken|illegal|off)",
    "{GOOD}": r"(?:right|correct|valid|accepted|acceptable|allowed|supported|appropriate|accurate|permitted)",
}
"""What stands for what in a pattern; one may hold another."""

QUOTING: Table = (
    (
        UNREADABLE,
        (
            (
                r"(?:can ?not|could not|can't|couldn't|unable to|failed to|fail to|impossible to|not) (?:be"
                r" )?(?:parse|read|decode|understood|interpret|load|made sense)"
            ),
            r"\b(?:un|non-?)(?:parse?able|readable)",
            r"\bmalformed\b",
            r"\bjson ?decode",
            r"\bSyntaxError\b",
            r"\binvalid syntax",
            r"\bsyntax error",
            r"\bpars(?:e|ing) (?:error|fail)",
            (
                r"\b(?:invalid|broken|ill-formed|bad|not(?: a)?(?: well-formed| valid)?|isn't(?: a)?(?: valid)?)"
                r" (?:json|syntax)"
            ),
            r"\bnot (?:a )?(?:well-formed|proper|valid)(?: tool| function)? call",
            r"\bwell-formed\b",
            (
                r"\b(?:unclosed|unmatched|unterminated|unbalanced|mismatched|trailing|stray|(?:missing|lacks)(?: a|"
                r" an| the| its)?(?: closing| opening| final)?) (?:bracket|brace|quot|comma|parenthes|delimiter"
                r"|curly)"
            ),
            (
                r"\b(?:bracket|brace|quote|quotation mark|comma|parenthesis)s? (?:is|are|was) (?:missing|not closed"
                r"|unbalanced)"
            ),
            r"\bexpecting (?:property|value|⟦|,|:)",
            r"\bcould not decode",
        ),
    ),
    (
        UNREADABLE,
        (
            r"\bcut (?:off|short)",
            r"\btruncated",
            r"\bended early",
            r"\bends? (?:too early|abruptly|before|in the middle)",
            r"\bEOFError",
            r"\bunexpected end",
            r"\b(?:length|token) limit",
            r"\bincomplete (?:json|tool|call|request|response|function)",
            r"\b(?:call|json|response|body) (?:is|was) (?:incomplete|not complete|unfinished)",
            r"\bnever (?:closed|finished)",
            r"\bbroke off",
            r"\bstops? mid",
        ),
    ),
    (
        TYPED,
        (
            r"\bobject (?:has no attribute|is not (?:iterable|subscriptable|callable)|of type ⟦?'?\w+⟧?'? has no"
            r" len)",
            r"\bnot supported between instances",
            r"\bunhashable type",
            r"\bunsupported operand",
            r"\bcan only concatenate",
            r"\bcan't multiply sequence",
            r"\bindices must be",
            r"\bindex out of range",
            r"\binvalid literal for",
            r"\bcould not convert",
            r"\bmust be str, not",
            r"\bargument must be a string or",
            r"\bargument \d+ must be",
        ),
    ),
    (
        REJECTED,
        (
            r"{T} (?:failed|raised an exception):",
            r"\bwas refused:",
            r"\binternal failure of the operation:",
        ),
    ),
    (
        TIMED_OUT,
        (
            r"\btime[sd]?[- ]?out\b",
            r"\bTimeoutError\b",
            r"\b(?:did not|didn't) finish in time",
            r"\b(?:was|were) not run:",
        ),
    ),
)
"""What stands behind these on their line is somebody else's words and claims nothing."""

VAGUE: Table = (
    (
        UNKNOWN_TOOL,
        (r"\bNameError\b",),
    ),
    (
        MISNAMED | WRONG_TYPE,
        (r"\bTypeError\b",),
    ),
    (
        UNKNOWN_TOOL | UNEXPECTED,
        (
            r"\b(?:no|not) \S+ (?:named|called|with this name|by that name)\b",
            r"\bmisspelled\b",
        ),
    ),
    (
        MISUSED,
        (r"\b(?:invalid|wrong|bad|incorrect|unsupported) (?:{ARG}|{N})",),
    ),
    (
        UNEXPECTED,
        (
            r"\b(?:leave|take) (?:it|this|that|them|this field|{N}) out",
            r"\b(?:omit|remove|drop|delete) (?:it|this|that|them|the {ARG}|{N})",
        ),
    ),
    (
        MISSING,
        (r"\b(?:add|include|provide|supply|specify|give) (?:it|this|the {ARG}|a value|the {N}|{N})",),
    ),
    (
        UNSATISFIED,
        (
            r"\b(?:ran|served|executed|succeeded|worked|went through)\b.{0,20}\b(?:but|yet|however)\b",
            r"\bdid not do what the user asked",
            r"\bnot (?:satisfied|fulfilled)",
            r"\bresult is not what was asked",
        ),
    ),
    (
        TIMED_OUT,
        (
            r"\btoo (?:costly|expensive|slow)\b",
            r"\btook too long",
        ),
    ),
    (
        REJECTED,
        (
            r"\bno such\b",
            r"\bnot found\b",
            r"\b(?:does not|doesn't) exist",
            r"\balready (?:exists?|in|been|done|resolved|closed|registered)",
            (
                r"\bnot (?:logged|authenticated|authori[sz]ed|permitted|allowed|supported|registered|available"
                r"|initialized|a directory|empty)\b"
            ),
            r"\b(?:permission|access) denied",
            r"\binsufficient",
            r"\bunknown\b",
            r"\binvalid\b",
            r"\b(?:can ?not|could not) be ",
            r"\b(?:unable to|failed to) ",
            r"\b(?:failed|refused|rejected|denied|exceed(?:ed|s)?|expired)\b",
            r"\bexception\b",
            r"\bError during execution\b",
            r"\bout of\b",
            r"\b[A-Z][A-Za-z]+(?:Error|Exception)\b",
        ),
    ),
)
"""These count only in a text in which nothing telling stands."""

TYPE_DEMANDS = (
    (
        r"\b(?:must|should|has to|have to|needs? to|ought to|shall|can only|only) be (?:given |passed |provided "
        r"|sent |written )?(?:as )?(?:of (?:the )?type )?(?:an? |one |plain |single |json |the )*{TYPE}\b"
    ),
    (
        r"\b(?:expects?|expected|expecting|requires?|required|takes?|wants?|needs?|accepts?)(?: only)?:? (?:an? "
        r"|type |the |of |json )*{TYPE}\b"
    ),
    r"\b{TYPE} (?:is|was|are|were)? ?(?:expected|required|needed)\b",
    r"\bnot (?:an? |of type |the |valid )*{TYPE}\b",
    r"\bof type {TYPE}\b",
    (
        r"\b(?:got|given|passed|received|sent|written|wrote|provided|supplied|is|was|were|are|has|have)(?:"
        r" it)?(?: as)?:? (?:an? )?{TYPE}\b"
    ),
    r"\b(?:as|to|into|use|write|give|pass|make it|send) (?:an? |one |plain )*{TYPE}\b",
    r"\binstead of (?:an? )?{TYPE}\b",
    r"\bonly {TYPE}\b",
)
"""A type that is demanded or given."""

"""The words that tell a kind of error wherever they stand, in the notation of `kind_words`."""

from __future__ import annotations

from fissile.simulator.judging.kind_words import (
    MISSING,
    REJECTED,
    TOO_FEW,
    TOO_MANY,
    UNEXPECTED,
    UNKNOWN_TOOL,
    WRONG_TOOL,
    WRONG_TYPE,
    Table,
)

TELLING: Table = (
    (
        UNKNOWN_TOOL,
        (
            (
                r"\bno (?:such )?{TOOL}(?: is| are)?(?: named| called| by (?:the|that) name)? ?(?:{ANY}|exists|with"
                r" (?:the|that) name)"
            ),
            r"\bno {TOOL} (?:is|was) (?:named|called) \S",
            r"\bno {TOOL} (?:goes by|with|of|under|by|has) (?:the|that|this) name",
            r"\bnot (?:one|any) of the (?:\w+ )?{TOOL}",
            r"\bnot in the (?:list|set) of (?:\w+ )?{TOOL}",
            r"{ANY} was never (?:offered|defined|declared)",
            r"\bno such {TOOL}",
            r"\b(?:unknown|undefined|unrecogni[sz]ed|non-?existent|invented|unavailable|made-up) {TOOL}",
            r"{ANY} {BE} not defined",
            r"\bFunction call \S+ is not allowed",
            r"{T}(?: {TOOL})? (?:does not|doesn't|did not) exist",
            r"{TOOL} {ANY} (?:does not|doesn't|did not) exist",
            (
                r"{TOOL} {ANY} (?:is|was) (?:not|n't) (?:defined|available|offered|known|found|one of|among|recogni"
                r"|listed)"
            ),
            (
                r"{T}(?: {TOOL})? (?:is|was) (?:not|n't) (?:an? (?:available|known|valid|offered|existing|registered)"
                r"|(?:any )?one of|available|offered|known|found|among|recogni|listed|registered|a {TOOL})"
            ),
            r"{ANY} is not (?:an?|any|the name of an?) (?:(?!right|correct|suitable|proper)\w+ )?{TOOL}\b",
            r"{TOOL} {ANY} (?:was |is )?not found",
            r"\bthere is no (?:{TOOL}|{T})",
            r"\bno {T}",
            r"\b{TOOL} (?:was )?not found",
            r"\b{TOOL} name (?:is )?(?:not|un)",
            r"\b{TOOL} (?:that|which) (?:was )?(?:does not|doesn't|not|never) (?:exist|offered)",
            r"\bwas (?:not|never) offered",
        ),
    ),
    (
        WRONG_TOOL,
        (
            (
                r"(?<!of ){T} (?:does not|doesn't|cannot|can't|will not|won't)(?!.*\bwithout\b) (?:do|serve|perform"
                r"|fulfil|satisfy|answer|provide|accomplish|handle|help|give|return|achieve|address|get|find) "
            ),
            (
                r"\b(?:this|that|the|a|your|chosen) {TOOL}\b[^.⟦]{0,25} (?:does|can|will|do) ?not (?:do|fit|match"
                r"|answer|serve|solve|compute|suit|help|address|give)"
            ),
            r"\b(?:use|select|choose|pick|try|call) (?:the|an?) (?:{TOOL}|one) (?:that|which|whose|for)",
            r"\b{TOOL}\b[^.]{0,20} unrelated",
            r"\b(?:this|that) {TOOL} (?:is|was) (?:meant|made|intended|designed)? ?for\b",
            r"\bthis {TOOL} (?:does not|doesn't|cannot) (?:do|serve|perform|fulfil|satisfy|answer|help|give"
            r"|address) ",
            (
                r"\b(?:use|select|choose|pick|try|call|consider|need|needs|needed|calls for|requires|want|wants)"
                r" (?:another|a different|some other|the other|one of the other|an? more \w+) (?:{TOOL}|one\b)"
            ),
            r"\b(?:wrong|incorrect|inappropriate|unsuitable|unrelated|irrelevant|mistaken) {TOOL}",
            r"\bnot the (?:right|correct|appropriate|needed|proper|best) {TOOL}",
            r"\bnot the {TOOL} (?:you|that|which|to|for)",
            r"{TOOL}\b[^.]{0,30} (?:is|was) not the (?:right|correct|proper|best) one",
            r"\b(?:another|different) {TOOL}",
            (
                r"(?<!of ){T} (?:is|was) (?:not|n't) (?:what|for|the|suited|suitable|appropriate|meant|intended|made"
                r"|designed|right)"
            ),
            (
                r"(?<!of ){T} (?:is|was) (?:the )?(?:wrong|unsuitable|inappropriate|unrelated|for something else|for"
                r" another)"
            ),
        ),
    ),
    (
        TOO_FEW,
        (
            r"\bno {TOOL}(?: call)? (?:was|were|has been|have been|got) (?:called|made|used|invoked|run|found)",
            r"\b(?:contains?|has|with|was|is|were|made|makes) no (?:tool |function )?calls?\b",
            r"\bno (?:tool |function )?calls? (?:was|were|has been|is|made|found|at all)",
            r"\bfewer (?:{TOOL}|calls)",
            r"\b(?:an operation|a (?:tool |function )?call) is expected",
            r"\bexpected (?:a|at least one) (?:{TOOL} )?call",
            r"\bfurther (?:operations|calls|{TOOL})",
            (
                r"\b(?:did not|didn't|never|without|not|instead of) call(?:ed|ing)? (?:a|any|one of the|the|an?y of"
                r" the) (?:{TOOL}|available|offered)"
            ),
            r"\bmissing (?:a |an |one )?(?:second |third |other |further |another )?(?:tool |function )?calls?\b",
            (
                r"\b(?:a|another|one|the|second|third|more) (?:tool |function |further )?calls? (?:is|are|was|were)"
                r" (?:missing|needed|necessary|required|expected)"
            ),
            r"\bnot all (?:parts|of the request|requests|items)",
            r"\bonly (?:one|two|three|\d+) (?:of|{TOOL}|calls?)\b",
            r"\bfor (?:only one|one only|just one)",
            r"\bpart of the request (?:was|is|has) (?:not|un)",
            r"\bmore (?:calls|{TOOL}) (?:are|were) (?:needed|expected|required)",
            r"\b(?:answered|replied|responded|answer|reply) (?:in|with|only in) (?:plain )?(?:text|prose|words)",
            r"\bcalls? (?:is|are|was|were) (?:still )?(?:missing|absent)",
            (
                r"\b(?:need|have|must|should|required|supposed|expected)(?: to)? (?:call|use|make|invoke) (?:an?|the"
                r"|one|some|at least one) (?:{TOOL}|call|of the {TOOL})"
            ),
            r"\b(?:do|did) not (?:just )?answer\b",
            r"\bnothing was called",
            r"\banswer(?:ed|ing)? (?:directly|yourself|from memory)",
            r"\b(?:also|again) (?:call|be called)",
            (
                r"\b(?:parts?|items?|cases|others?|rest|half|one) (?:of the request )?(?:is|are|was|were|remains?)"
                r" (?:left|unanswered|not (?:handled|covered|answered|served)|open|ignored)"
            ),
            r"\btoo few (?:calls|{TOOL})",
            r"\bone call (?:for|per)\b",
            r"\b(?:some|more|other|further) calls\b",
            r"\bmust (?:make|be) (?:a|at least one) (?:tool |function )?call",
            r"\b(?:call|calls) (?:was|were) (?:forgotten|skipped|left out)",
            r"\bonce (?:for|per)\b",
        ),
    ),
    (
        TOO_MANY,
        (
            r"\bmore (?:{TOOL}|calls) (?:were|was|are) (?:called|made|used) than",
            r"\bmore (?:calls|{TOOL}) than",
            r"\bone (?:call )?too many",
            r"\btoo many (?:calls|{TOOL})",
            (
                r"\b(?:surplus|superfluous|unneeded|unnecessary|redundant|extra|duplicated?|needless) (?:{TOOL}"
                r" )?(?:calls?|{TOOL})\b"
            ),
            (
                r"\bno(?:ne of the)? {TOOL} (?:fits|applies|matches|is (?:needed|necessary|required|suitable)|can"
                r"|suits|should|here)"
            ),
            r"\bnone of the (?:{TOOL}|available {TOOL}) ",
            r"\bdo not call any",
            r"\bshould not (?:have been called|have called|be called)",
            (
                r"\bcall(?: (?:to|of) {T})? (?:is|was) (?:not (?:needed|necessary|asked|requested|required)"
                r"|superfluous|redundant|unnecessary|a duplicate)"
            ),
        ),
    ),
    (
        MISSING,
        (
            (
                r"\bmissing (?:\d+ |one |two |three |an? |the |its |some |value for |required |positional |mandatory "
                r"|keyword-only |keyword |following |needed |necessary |values? for )*(?:{ARG}\b|{N})"
            ),
            (
                r"{N}(?: {ARG})?(?:,? and {N}(?: {ARG})?|, {N})* {BE} (?:still |both |all )?(?:missing|mandatory"
                r"|absent|omitted|left out|not optional|required(?! (?:to be|format|by))|needed|forgotten|{NOT}"
                r" {GIVEN}(?! (?:in|as|by|correctly|properly|like|with|the)\b))"
            ),
            r"{N}(?: {ARG})? (?:has|have|had) (?:not been|n't been) {GIVEN}",
            r"{N}(?: {ARG})? (?:was|were)n't {GIVEN}",
            (
                r"\b(?:mandatory|required|necessary|needed) (?:{ARG} |value |one )?(?:{N} )?{BE} (?:absent|missing"
                r"|left out|omitted|{NOT} )"
            ),
            r"{N}[^.]{0,30}\bit is (?:absent|missing|not there)",
            (
                r"{N} must (?:also )?be (?:given|provided|supplied|included|specified|set|there|present)(?! (?:as|in"
                r"|by|from|like)\b)"
            ),
            r"\b{ARG} (?:is|are|was|were) (?:missing|absent|{NOT} {GIVEN})\b",
            r"\bis a required (?:property|{ARG})",
            r"\bcannot do what the user asked for without",
            r"\bneeds (?:the |an? )?(?:{ARG} )?{N}(?! to| as)",
            r"\brequires (?:the |an? )?(?:{ARG} )?{N}(?! to| as)",
            r"\bwithout (?:the |its |any |an? )?(?:required |mandatory )?(?:{ARG}\b|{N})(?! so| for)",
            (
                r"\b(?:did not|didn't|forgot to|failed to|fails to|does not|doesn't|never|neglected to) (?:give"
                r"|provide|supply|set|pass|specify|include|say|mention|fill|contain)(?:s|d|ed)? "
            ),
            (
                r"\b(?:lacks|lacking|omits|omitted|leaves out|left out|forgot|forgets) (?:the |an? |its |any "
                r"|required )*(?:value )?(?:{ARG}\b|{N})"
            ),
            r"\bspecifies this field too",
            r"\bno (?:value|{ARG}) (?:was |is |has been )?(?:{GIVEN} )?(?:for|named) (?:the )?(?:{ARG} )?{N}",
            r"\b(?:no|where is) {A} (?:was |is |in )",
            r"\b(?:no|where is(?: the)?) {A}[.?]?$",
            r"\bit is (?:absent|missing)\b",
        ),
    ),
    (
        UNEXPECTED,
        (
            r"\bunexpected (?:extra |keyword |positional |named )*(?:{ARG}\b|{N})",
            r"\b(?:unknown|unrecogni[sz]ed|undefined|unsupported) (?:keyword |named |input )?{ARG}\b",
            (
                r"\b(?:extra|additional|superfluous|surplus|unneeded|stray|undocumented|invented|unnecessary"
                r"|nonexistent|non-existent|made-up|foreign|spurious) (?:keyword |named |input )?(?:{ARG}\b|{N})"
            ),
            (
                r"\b(?:does not|doesn't|do not|no longer|cannot|can't|did not|didn't|never) (?:take|accept|have"
                r"|support|define|know|recogni[sz]e|expect|allow|list|declare|understand)s?(?: an?| any| the| such"
                r" an?| this)?(?: {ARG})?(?: named| called)? ?(?:{N}|{ARG}\b|that)"
            ),
            r"\b(?:has|have|with|takes|accepts|is|exists|there's) no(?: such)? {ARG}",
            r"\bno such {ARG}",
            r"\bno {ARG} (?:named|called|{N})",
            (
                r"{N}(?: {ARG})? (?:is|was|are) not (?!(?:an? |one of |among |any of |in |part of )*(?:the |its "
                r"|these )?(?:\w+ )?(?:values?|choices?|options?|enum\w*|{TYPE}|⟦L))(?:an? (?:\w+ )?{ARG}|one of"
                r"|among|any of|in the|part of|defined|listed|known|recogni[sz]ed\b(?! as)|declared|expected|an"
                r" option|documented|taken|something)"
            ),
            r"{N}(?: {ARG})? (?:does not|doesn't) exist",
            r"{N} is (?:unknown|unexpected|superfluous|unrecogni|unnecessary|not an? {ARG})",
            r"\bnot defined for",
            r"\bnot part of (?:what|the (?:request|schema|user|signature|task|definition)|its)",
            r"\bdoes not specify this field",
            r"\b{ARG} name {N} is",
            r"\b{N} is (?:a )?(?:misspell|typo|misnamed|not the name)",
            r"\b(?:does|did) not know\b",
            r"\bmust be called without",
            r"\badditional properties are not allowed",
            r"\bproperties? .{0,40}not allowed",
            (
                r"\b(?:the )?user (?:did not|didn't|never) (?:ask for|mention|request|specify|say anything about)(?:"
                r" an?y?| the)? {A}"
            ),
            r"{A} (?:is|was) (?:not|never) (?:asked for|requested|mentioned)",
            r"\bdrop (?:the )?(?:{ARG} )?{N}",
            r"\bremove (?:the )?(?:{ARG} )?{N}",
            r"{N} cannot be (?:passed|given|used|set)\b",
        ),
    ),
    (
        WRONG_TYPE,
        (
            r"\b(?:wrong|incorrect|invalid|bad|mismatched|unexpected|improper) (?:data ?|json |value )?types?\b",
            r"\btype mismatch",
            r"\btypes? (?:do|does) not match",
            r"\bnot (?:of (?:the )?|the (?:right |expected |correct |required ))?(?:json |data ?)?type\b",
            r"\bdifferent (?:json |data ?)?type",
            r"\bmust be of (?:another|a different|the right) type",
            r"\b(?:json |data ?)type (?:of {A} )?(?:is|was) (?:wrong|incorrect|invalid|not)",
            r"\b(?:should|must) (?:not )?be (?:quoted|unquoted|in quotes|wrapped|enclosed|without quotes)",
            r"\bwrap(?:ped)? (?:.{0,30} )?in (?:an? )?(?:list|array|quotes)",
            r"\b(?:without|in|no|remove the) (?:the )?(?:quotes|quotation marks)\b",
        ),
    ),
    (
        REJECTED,
        (
            r"\b(?:must|should|has to|needs to|can only|may only) be (?:exactly )?(?:the )?(?:either|one of)",
            r"\bnot (?:one|any) of (?:the|these|⟦L)",
            r"\bnot (?:among|in|within) (?:the )?(?:\w+ )?(?:values|choices|options|enum\w*|list|⟦L)",
            r"{N} is not an? (?:\w+ )?{VALUE}\b",
            (
                r"\b(?:does|do|did) ?(?:not|n't) (?:agree|correspond|match|fit|reflect|conform|equal|follow|respect"
                r"|satisfy|meet|tally|belong)"
            ),
            r"\bdisagrees?\b",
            r"\bcontradicts?\b",
            r"\bmismatch",
            r"\bdiffers? from",
            r"\binconsistent with",
            r"\bdeviates?\b",
            (
                r"\b(?:must|should|has to|needs to|cannot|can't|can only) (?:be|have|contain|not be|hold) (?:at least"
                r"|at most|greater|less|larger|smaller|more|no more|fewer|between|an? multiple|positive|negative"
                r"|non-?negative|non-?zero|within|under|above|below|exactly|in the range|longer|shorter)"
            ),
            r"\b{BAD} (?:\w+ )?{VALUE}",
            r"\bunknown (?:value|option|choice)",
            (
                r"\b{VALUE}(?: of| for| given for| in)?(?: the)?(?: {ARG})?(?: {A})? (?:is|was|are|were|has|looks"
                r"|seems) (?:\w+ )?(?:{BAD}|not|n't|wrong|different|unknown|too)"
            ),
            (
                r"{N}(?: {ARG})?(?: of (?:{T}|\w+))? (?:is|was|are|were|looks|seems) (?:\w+ly )?(?:{BAD}|not (?:what"
                r"|{GOOD}|the|quite|as|one of ⟦L|one of the (?:values|choices|options))|wrong|out of range|too)"
            ),
            r"{A} (?:has|had|holds|contains|got|carries|with) (?:the |an? )?(?:{BAD}|different|other)",
            r"(?<!result is )\bnot what (?:the user|was|is|has been|they|you were)",
            r"\bnot (?:as|the one) (?:asked|requested|wanted|the user)",
            r"\bout of range",
            r"\bconstraint",
            r"\bwrong (?:number of|order|date|city|name|unit|place|person|file)",
            r"\bwrong .{0,30}? (?:for|in|of|to) {A}",
            r"\ba supported option, but not",
            r"\b(?:check|review|reread|re-read|look at) (?:the |again )*(?:{VALUE} of |format of |notation of )?{A}",
            (
                r"\b(?:check|re-?read|look at|correct|fix|change|adjust|reconsider) (?:the )?(?:value (?:of|for|given"
                r" for) )(?:the )?(?:{ARG} )?{A}"
            ),
            (
                r"\btoo (?:many|few|long|short|large|small|high|low|late|early|broad|narrow|general|specific)"
                r" (?:items|elements|entries|characters|for)"
            ),
            (
                r"\b(?:should|must) (?:be|come|stay|read) (?:taken |copied )?(?:from|as) (?:the )?(?:user|request"
                r"|message|conversation)"
            ),
            (
                r"\b(?:should|must|has to|needs to) be (?:written|given|spelled|expressed|formatted|stated|copied"
                r"|taken|in) (?:in |as it|as the|exactly|like|out|from|the (?:form|format|notation|way))"
            ),
            r"\b(?:asked|asks) for (?:something else|another|a different)",
            r"\b(?:wanted|requested|meant) (?:something else|another|a different)",
            r"\b(?:another|a different) (?:value|option|choice|date|number|place|city|unit|format|spelling)\b",
        ),
    ),
)
"""These count wherever they match."""

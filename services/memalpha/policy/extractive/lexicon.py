"""Word lists that the rules share. English; in other languages digits, names and length have to do."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = _words("""
a about above after again all also am an and any are aren't as at be because been before being below between
both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each else
ever few for from further get gets getting go goes going gone gonna gotta had hadn't has hasn't have haven't
having he he'd he'll he's her here here's hers herself him himself his how how's i i'd i'll i'm i've if in
into is isn't it it'd it'll it's its itself just kinda latter let let's like lot lots make makes making me
more most much my myself no nor not now of off oh ok okay on once one only or other our ours ourselves out
over own pretty quite really same she she'd since she'll she's should shouldn't so some something sorta
still such than that that'd that'll that's the their theirs them themselves though although however yet then
there there's these they they'd they'll they're they've thing things this those through to too under until
up us very was wasn't we we'd we'll we're we've well were weren't what what's when where which while who
whom why will with won't would wouldn't yeah yep yes you you'd you'll you're you've your yours yourself
yourselves
""")

CHATTY = _words("""
able absolutely actually agree agreed always amazing anyone anything anyway appreciate appreciated around aw
aww awesome back bad beautiful believe best better bit breathtaking brilliant btw came catch chat check come
comes congrats congratulations cool cute day days definitely doing enjoy enjoying enjoyed everyone
everything excited exciting experience fantastic feel feeling feels felt find fine fun girl give glad good
gorgeous got great guess guy guys haha happen happened happening happy hard hear heard heart hello help
helped helpful helps hey hi hope hopefully hoping huge idea important incredible inspire inspired inspiring
interesting involved job joy keep keeping kind know life likely little live lmao lol long look looking looks
lovely loved love loving lucky man mate matter maybe mean meaningful means memorable memories memory moment
moments much need needed never new nice nothing often part past people perfect picture place plans please
pleasure positive possible powerful present proud put quick ready real realize reminder right rock rocks
said saw say see seem seems sense share shared sharing show side soon sorry sound sounded sounds special
stay story stuff stunning sure super support supportive supporting surely sweet take takes taking talk
talking tell thank thanks think thinking thought thoughts time times today together told totally touching
tough tried true truly try trying unique use used vibes wait wanna want wanted watch way wish wonder
wonderful wondering word words work worked working world worry worth wow yay year years
""")

GREETING = _words("""
hi hello hey hiya howdy yo greetings thanks thank thx cheers welcome bye goodbye congrats congratulations
sorry wow yay aw aww awww haha lol hmm ok okay sure yep yeah yes no nope nah cool nice great awesome amazing
absolutely definitely totally exactly agreed indeed right true
""")

ADVERBS = _words("""
also always already actually even ever finally just kinda still never now often once only probably really
recently sometimes soon then therefore usually rarely currently simply absolutely totally definitely
honestly both generally
""")

IRREGULAR_PAST = _words("""
ate awoke became began bent bet bit bled blew bought bound bred broke brought built burnt came caught chose
clung came crept dealt did didn't dove drank dreamt drew drove dug fed fell felt fled flew fought found
forgot forgave froze gave got grew had hadn't heard held hid hung kept knew laid leapt learnt led left lent
lit lost made meant met paid proved ran rang rode rose said sang sank sat saw sent sewed shook shot showed
shrank slept slid smelt sold sought spent spoke spun stole stood struck stuck stung swam swept swore swung
taught thought threw told took tore understood underwent upped was wasn't went wept woke won wore wound wove
wrote
""")

NOT_PAST = _words(
    "need feed speed proceed bleed breed exceed succeed embed shed wed seed weed bed red indeed"
)

MODALS = _words("""
can can't cannot could couldn't may might must mustn't shall should shouldn't will won't would wouldn't
didn't hadn't wasn't used
""")

BASE_VERBS = _words("""
accept admire adore advise agree aim appreciate apply ask attend avoid bake believe bike book bring build
buy call care carry celebrate climb collect come commute consider cook count create cycle dance decide
deserve develop draw dream drink drive eat enjoy exercise expect explore fear feel find fly follow forget
garden get give go grow hate hear help hike hope imagine intend invest jog join keep knit know lack learn
leave like listen live look love maintain make manage mean meet mentor miss move need notice offer order
organize organise own paint pay plan play practice practise prefer prepare promise realize realise recall
recommend relax rely remember rent report research ride run save say see seem sell send serve share sing
skate ski sleep smoke speak spend stand start stay stop struggle study suffer suggest support suspect swim
take talk teach tell tend think train travel treasure trust try understand use value visit volunteer wait
wake walk want watch wear wish wonder work worry write
""")

LABELS_NOT_SPEAKERS = _words("""
note notes warning caution tip hint summary date time subject from to cc title todo example examples
important http https ps p.s update updates step figure table source see location address phone email status
version author tags usage
""")

ROLES = _words("user assistant system tool developer function human ai")
HELPERS = ROLES - {"user", "human"}

MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
NUMBERS = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ]
    )
} | {"a": 1, "an": 1}

PAST = re.compile(
    r"\b(?:was|were|had|did|went|got|took|made|met|saw|bought|came|gave|found|ran|won|lost|told|said"
    r"|began|started|\w{2,}ed|"
    r"ate|drove|flew|wrote|read|built|broke|left|sent|taught|spent|caught|chose|fell|felt|grew|heard|held"
    r"|kept|paid|sold|wore)\b",
    re.IGNORECASE,
)

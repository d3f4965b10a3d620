"""The everyday words of diagnoses and error messages: in a text they say nothing about the truth."""

from __future__ import annotations

_WORDS = """
a about above accept accepted access according account action active actual add added after again all allowed already
also always am an and another any api are argument arguments array as ask asked at attempt available back bad be
because been before behind below between body boolean both but by call called calls can cannot case change changed
character characters check choice choices choose client close closed code column columns command complete connection
contain contains content correct could count create current cut data date day decode default defaults defined delete
denied describe described description detail details did different directory do document documented documents does
done down each either element else email empty end enter entry error errors every exact exactly example exist existing
exists expect expected extra fail failed failure false few field fields file files find first fit fits fix float
folder follow following for form format found from full function get give given go good has have he help her here high
him how i id if in include index information input instead integer invalid is it item items its itself json just keep
key keys kind know known last later least leave left length less letter letters like limit line list listed local long
longer look low make match matching maximum may me mean message minimum missing mistake mode month more most move must
my name named names near need needed needs neither new next no none nor normal not note nothing null number numbers
object of off on one only open operation option optional options or order other out over page parameter parameters
parse part pass path pattern pending place please point position possible post present previous problem process
property provide provided put query range rather read ready received record refused remove replace reply report
request requested require required requires resource response result results retry return right row rule run same say
says schema search second see select send sent server service set she short should show single size so some something
source specific specified specify start started state status step still stop string submit such support supported
system table take taken takes target task text than that the their them then there they this time timed title to today
together token tool tools top total true try turn two type under unexpected unit unknown unsupported until up update
url us use used user uses using valid value values version very view wait want wants was way we were what when where
which while who whole why will with within without word words work would write written wrong year yes yet you your
"""

EVERYDAY = frozenset(_WORDS.split())

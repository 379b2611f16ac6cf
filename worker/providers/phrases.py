"""What the offline engine can hear: a closed grammar of what people say when they try an assistant (JSGF).

Nearly everything sounds like a word of one or two phones: those are here only so as not to be taken for another.
"""

GRAMMAR = """#JSGF V1.0;
grammar phrases;
<day> = today | tomorrow | tomorrow morning | now | tonight | this morning | this evening | monday
 | tuesday | wednesday | thursday | friday | saturday | sunday;
<digit> = one | two | three | four | five | six | seven | eight | nine | ten;
<number> = <digit> | eleven | twelve | fifteen | twenty | thirty | forty | fifty | sixty | a hundred;
<name> = john | mary | sarah | david | michael | james | anna | peter | paul | alex | emma | daniel | adam | laura
 | mohammed | ahmed | omar | ali | maria | robert;
<place> = france | egypt | england | germany | spain | italy | china | japan | india | turkey | canada | america
 | brazil | russia;
<city> = london | paris | cairo | berlin | madrid | rome | dubai | tokyo | beirut;
<person> = my mother | my father | my brother | my sister | my friend | my boss | my manager | my wife | my husband
 | the doctor | the dentist | the office;
<room> = kitchen | bedroom | bathroom | living room;
<spot> = airport | station | hospital | bank | restaurant | hotel;
<greeting> = hello | hello there | hi there | good morning | good afternoon | good evening | good night;
<meet> = can you hear me [clearly | now] | are you there | is this thing working | is this working | does this work
 | how are you [today | doing] | how is it going | nice to meet you | who are you | what are you | what is your name
 | where are you from | what can you do [for me] | how do you work | how can you help me | can you help me
 | i need [some | your] help | help me | do you speak (english | arabic) | are you (a robot | human)
 | how old are you;
<know> = what time is it | what is the time | what day is it [today] | what is the date [today]
 | what is the weather [like] [in <city>] [<day>] | how is the weather [in <city>] [<day>] | will it rain [<day>]
 | what is the capital of <place> | where is <place> | tell me about <place> | tell me about yourself
 | what is <number> (plus | minus | times) <number> | what is the news | read me the news
 | what is the meaning of life | how far is the moon | who is the president of <place>
 | how many (seconds | minutes | hours | days) are there in (an hour | a day | a week | a month | a year)
 | where is the nearest <spot> | how do i get to the <spot> | how much does it cost | how much is it;
<do> = tell me a (joke | story | secret) | tell me something [new | funny | interesting] | sing [me] a song
 | play [some] music | stop the music | turn (on | off) the (lights [in the <room>] | music | radio)
 | set (a timer | an alarm) for <number> (minutes | hours | seconds) | call <person>
 | send (a message | an email | the report) to <person> [before noon]
 | remind me to call <person> [<day>] | write [me] a (poem | letter | story | message)
 | i would like (to talk to you | a cup of coffee | some water)
 | [i would like to] book a table [for <number> people] [at <number>]
 | i would like to know more about (you | this | your (plans | prices | company)) | count to <number>
 | open the door | close the door;
<say> = yes | yes please | no thank you | no thanks | okay | all right | maybe
 | thank you [very much | so much] [for your help] | thanks a lot | you are welcome | excuse me | i am sorry
 | i (do not | don't) (know | understand) [the question] | [could you | can you] say that again | repeat that
 | speak (slower | louder) | what did you say | wait a minute | never mind | goodbye | bye bye
 | see you (later | <day>) | i love you | i am (fine | happy | sad | tired | hungry | bored) | my name is <name>
 | very good | that is (right | wrong | great | all) | this is a test | testing | testing testing
 | testing one two three | one two three [four [five]] | hello world
 | the quick brown fox jumps over the lazy dog;
<tiny> = no | hi | bye | go | oh;
<one> = <meet> | <know> | <do> | <say>;
public <phrase> = <greeting> | [<greeting>] <one> [please] | please <do> | <tiny>;
"""

# Written with a capital letter.
PROPER = frozenset({"i", "english", "arabic"}).union(
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    ("john", "mary", "sarah", "david", "michael", "james", "anna", "peter", "paul", "alex"),
    ("emma", "daniel", "adam", "laura", "mohammed", "ahmed", "omar", "ali", "maria", "robert"),
    ("france", "egypt", "england", "germany", "spain", "italy", "china", "japan", "india", "turkey"),
    ("canada", "america", "brazil", "russia"),
    ("london", "paris", "cairo", "berlin", "madrid", "rome", "dubai", "tokyo", "beirut"),
)

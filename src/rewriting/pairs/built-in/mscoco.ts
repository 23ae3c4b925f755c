/**
 * Groups of captions in MSCOCO's manner: five people each describe one everyday scene in a plain sentence of about ten words.
 *
 * Written for this project; the scenes are imagined and no caption is taken from the MSCOCO data set.
 * An example pair is two different captions of one group, drawn without replacement, as in LaCLIP's rewriting code.
 */
export const mscocoGroups: readonly (readonly string[])[] = [
  [
    "A man riding a wave on a blue surfboard.",
    "A surfer in a black wetsuit rides a small wave.",
    "A person balances on a surfboard in the ocean.",
    "A man is surfing near the shore on a sunny day.",
    "Someone in a wetsuit surfing on a wave in the sea.",
  ],
  [
    "A kitchen with a white stove and wooden cabinets.",
    "A small kitchen has a stove, a sink and brown cabinets.",
    "An empty kitchen with an oven next to a counter.",
    "The kitchen counter is clean beneath the wooden cupboards.",
    "A white oven stands between wooden cabinets in a kitchen.",
  ],
  [
    "Two giraffes standing next to each other by a fence.",
    "A pair of giraffes are eating leaves from a tall tree.",
    "Two giraffes in a zoo reach up to the branches.",
    "Giraffes feeding on a tree behind a wooden fence.",
    "Two tall giraffes stand beside a tree in their enclosure.",
  ],
  [
    "A plate with a sandwich and french fries on a table.",
    "A sandwich cut in half sits next to some fries.",
    "A lunch of fries and a sandwich on a white plate.",
    "There is a plate of food with a sandwich on toast.",
    "A toasted sandwich is served with a pile of french fries.",
  ],
  [
    "A group of people waiting for a train at a station.",
    "Several passengers stand on the platform next to a train.",
    "A train is pulling into a station where people are waiting.",
    "People with bags are lined up along a train platform.",
    "A crowd of travelers on a platform beside a silver train.",
  ],
  [
    "A little girl holding a pink umbrella in the rain.",
    "A child in rubber boots stands in a puddle with an umbrella.",
    "A small girl with a pink umbrella on a wet sidewalk.",
    "A young child is playing in the rain under an umbrella.",
    "A girl wearing boots and holding an umbrella near a puddle.",
  ],
  [
    "A black and white cat lying on top of a laptop.",
    "A cat is sleeping on the keyboard of a computer.",
    "A laptop on a desk with a cat resting on it.",
    "The cat has curled up on an open laptop computer.",
    "A black and white cat takes a nap on a keyboard.",
  ],
  [
    "A baseball player swinging a bat at a ball.",
    "A batter in a white uniform is about to hit the ball.",
    "A man swings his bat while the catcher crouches behind him.",
    "Baseball players during a game with the batter at home plate.",
    "A batter, a catcher and an umpire on a baseball field.",
  ],
  [
    "A bathroom with a toilet, a sink and a mirror.",
    "A white toilet next to a sink in a tiled bathroom.",
    "The small bathroom has blue tiles and a large mirror.",
    "A clean bathroom with a mirror hanging above the sink.",
    "A sink and a toilet stand side by side in a bathroom.",
  ],
  [
    "A red double decker bus driving down a busy street.",
    "A large bus is stopped in traffic in front of some shops.",
    "A two story red bus on a city street with cars.",
    "Cars and a red bus are waiting at a traffic light.",
    "A double decker bus travels past stores in the city.",
  ],
  [
    "A man and a woman flying a kite in a field.",
    "Two people are looking up at a colorful kite.",
    "A couple flies a kite on a grassy hill.",
    "A rainbow colored kite in the sky above two people.",
    "People standing in the grass with a kite in the air.",
  ],
  [
    "A herd of elephants walking across a dry plain.",
    "Several elephants, with a baby among them, walk in a line.",
    "A baby elephant follows the grown elephants through the dust.",
    "A family of elephants moving through brown grass.",
    "Elephants of different sizes are walking together in the wild.",
  ],
  [
    "A vase of yellow flowers on a wooden table.",
    "Some yellow tulips in a glass vase by a window.",
    "A glass vase holds a bouquet of bright flowers.",
    "Fresh flowers in a vase standing on a table near the window.",
    "A bunch of tulips is arranged in a clear vase with water.",
  ],
  [
    "A man skiing down a snowy slope with two poles.",
    "A skier in a red jacket comes down the mountain.",
    "A person on skis turns sharply in deep white snow.",
    "Someone in red is skiing on a steep snowy hill.",
    "A skier makes his way down a slope lined with trees.",
  ],
  [
    "A woman cutting a large cake with a knife.",
    "People are gathered around a table with a birthday cake.",
    "A lady slices a chocolate cake at a party.",
    "A woman holds a knife over a cake with candles.",
    "Friends watch as a woman cuts the first piece of cake.",
  ],
  [
    "A brown dog catching a frisbee in the air.",
    "A dog jumps high to get a white frisbee.",
    "A dog is playing with a frisbee in a park.",
    "The brown dog leaps off the grass after a flying disc.",
    "A dog in mid jump with a frisbee in its mouth.",
  ],
];

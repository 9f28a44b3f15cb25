"""Names of everyday things, for the mean of a model's texts where pictures have no texts (ours)."""

from __future__ import annotations

_NAMES = """airport, apple, baby, bag, ball, band, bank, basketball, bathroom, beach, bear, bed, beer, bench,
    bicycle, bird, birthday party, boat, book, bottle, bowl, boxer, boy, bread, bridge, building,
    bus, bus stop, butterfly, cake, camera, campfire, candle, car, castle, cat, chair, cheese,
    child, church, city at night, clock, cloud, coffee, computer, concert, cow, crowd, cup, cyclist,
    dance, desert, desk, dog, door, dress, drum, duck, elephant, face, family, farm, fence, field,
    fire, fireworks, fish, flag, flower, fog, football match, forest, fountain, friends, fruit,
    game, garden, girl, glass, glasses, goat, grass, group of people, guitar, hair, hand, hat, hill,
    holiday, horse, hospital, hotel room, house, ice, insect, island, jacket, jump, kitchen, lake,
    lamp, leaf, library, lion, man, map, market, meal, meeting, microphone, mirror, monkey, moon,
    mosque, motorcycle, mountain, museum, office, old town, orange, painting, park, path, phone,
    piano, picnic, pizza, plane, plate, playground, police, pool, portrait, queue, rabbit, race,
    rain, restaurant, river, road, rock, roof, running, sailing, salad, sand, school, sea, sheep,
    ship, shoe, shop, sign, skateboard, skiing, sky, smile, snow, soldier, spider, stadium, stairs,
    statue, street, student, suit, sun, sunset, table, teacher, team, tent, theatre, tower, toy,
    train, tree, tunnel, umbrella, valley, vegetables, village, wall, watch, water, waterfall,
    wedding, wheel, window, wine, winter, woman, wood, worker, zoo"""
EVERYDAY = tuple(" ".join(name.split()) for name in _NAMES.split(","))
